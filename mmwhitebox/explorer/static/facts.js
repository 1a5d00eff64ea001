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
const isTable = value => typeof value === 'object' && Object.values(value).some(row => typeof row === 'object' && row);

function plainFacts(facts) {
  return Object.entries(facts).filter(([, value]) => isKnown(value) && typeof value !== 'object')
    .map(([key, value]) => [NAMES[key] ?? key, factText(key, value, facts)]);
}

function perClassTable(caption, rows) {
  const columns = [...new Set(Object.values(rows).flatMap(row => Object.keys(row ?? {})))];
  return tableOf(caption, ['class', ...columns], Object.entries(rows).map(([name, row]) => [name,
    ...columns.map(column => typeof row?.[column] === 'number' ? row[column].toFixed(2) : '–')]));
}

export function factsLine(model) {
  const {parameters, flops} = model.facts ?? {};
  return [model.task, parameters ? `${withPrefix(parameters)} parameters` : '',
    flops ? withPrefix(flops, 'FLOPs') : ''].filter(Boolean).join(' · ');
}

export function factsElements(model, image) {
  const facts = model.facts ?? {};
  const metrics = facts.metrics ?? {};
  const scores = Object.entries(metrics).filter(([, value]) => typeof value === 'number')
    .map(([key, value]) => [key, value.toFixed(2)]);
  const lines = [...plainFacts(facts), ...scores, ...pictureFacts(image)];
  const list = element('dl', {}, ...lines.flatMap(([name, text]) => [element('dt', {textContent: name}),
    element('dd', {textContent: text})]));
  const tables = Object.entries(metrics).filter(([, value]) => value && typeof value === 'object');
  const direct = isTable(metrics) && tables.every(([, value]) => !isTable(value));
  return [list, ...(direct ? [perClassTable('Per class', Object.fromEntries(tables))]
    : tables.filter(([, value]) => isTable(value)).map(([name, value]) => perClassTable(name === 'classes' ? 'Per class' : name,
      value)))];
}

function pictureFacts(image) {
  const seen = `${image.width} × ${image.height} pixels`;
  const [width, height] = image.original ?? [];
  return [['Picture', width ? `${width} × ${height} pixels, seen as ${seen}` : seen]];
}
