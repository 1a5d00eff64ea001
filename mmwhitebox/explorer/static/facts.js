// What is known of a model: sizes, where it comes from, its scores. What is not known is not shown.
import {element} from './elements.js';
import {short, withPrefix} from './numbers.js';
import {tableOf} from './table.js';

const NAMES = {config: 'Config', checkpoint: 'Checkpoint', date: 'Date', version: 'Version', parameters: 'Parameters',
  flops: 'FLOPs', trained: 'Trained'};

function factText(key, value, facts) {
  if (key === 'parameters') {
    return withPrefix(value);
  }
  if (key === 'flops') {
    const [height, width] = facts.flops_size ?? [];
    return withPrefix(value, 'FLOPs') + (height ? `, for ${width} × ${height} pixels` : '');
  }
  return typeof value === 'number' ? short(value) : String(value);
}

const isKnown = value => value !== null && value !== undefined && value !== '';

function plainFacts(facts) {
  return Object.entries(facts).filter(([, value]) => isKnown(value) && typeof value !== 'object')
    .map(([key, value]) => [NAMES[key] ?? key, factText(key, value, facts)]);
}

// `classes`: class -> score -> percent; a class need not have all scores.
function perClassTable(classes) {
  const columns = [...new Set(Object.values(classes).flatMap(Object.keys))];
  return tableOf('Per class', ['class', ...columns], Object.entries(classes).map(([name, row]) => [name,
    ...columns.map(column => row[column]?.toFixed(2) ?? '–')]));
}

export function factsLine(model) {
  const {parameters, flops} = model.facts ?? {};
  return [model.task, parameters ? `${withPrefix(parameters)} parameters` : '',
    flops ? withPrefix(flops, 'FLOPs') : ''].filter(Boolean).join(' · ');
}

export function factsElements(model, image) {
  const facts = model.facts ?? {};
  const {classes, ...scores} = facts.metrics ?? {};
  const lines = [...plainFacts(facts), ...Object.entries(scores).map(([name, value]) => [name, value.toFixed(2)]),
    ...pictureFacts(image)];
  const list = element('dl', {}, ...lines.flatMap(([name, text]) => [element('dt', {textContent: name}),
    element('dd', {textContent: text})]));
  return [list, ...(classes ? [perClassTable(classes)] : [])];
}

function pictureFacts(image) {
  const seen = `${image.width} × ${image.height} pixels`;
  const [width, height] = image.original ?? [];
  return [['Picture', width ? `${width} × ${height} pixels, seen as ${seen}` : seen]];
}
