// What lies over the picture: the answer, the truth, where they differ, what a disturbance changed.
import {agreement, isIgnored, truthOf} from './answer.js';
import {classColour} from './colour.js';
import {percent} from './numbers.js';
import {paintedCanvas} from './pixels.js';

const DIFFERENT = [213, 94, 0];
const EQUAL = [0, 114, 178];

export const OVERLAYS = [
  {id: 'answer', name: 'answer', applies: context => Boolean(context.answer)},
  {id: 'truth', name: 'ground truth', applies: context => Boolean(context.truth)},
  {id: 'difference', name: 'difference', applies: context => Boolean(context.answer && context.truth)},
  {id: 'change', name: 'change', applies: context => Boolean(context.answer && context.before)},
  {id: 'none', name: 'nothing', applies: () => true},
];

// What can be shown of a run: its answer, the undisturbed one before it, the truth.
export function contextOf(run, base, answerOf) {
  const segments = run.header.prediction?.kind === 'segmentation';
  return {run, answer: segments ? answerOf(run) : null, before: segments && base !== run ? answerOf(base) : null,
    truth: segments ? truthOf(run) : null};
}

export function overlayOf(context, wanted) {
  const found = OVERLAYS.find(overlay => overlay.id === wanted && overlay.applies(context));
  return (found ?? OVERLAYS.find(overlay => overlay.applies(context))).id;
}

// Label of every pixel under an overlay, and the colour of a label (null: nothing is painted).
function paintOf(context, overlay, hidden) {
  const {run, answer, before, truth} = context;
  const byClass = label => isIgnored(label) || hidden.includes(label) ? null : classColour(run.header.model, label);
  if (overlay === 'answer') {
    return [i => answer.labels[i], byClass];
  }
  if (overlay === 'truth') {
    return [i => truth[i], byClass];
  }
  const other = overlay === 'difference' ? truth : before.labels;
  return [i => isIgnored(other[i]) ? 2 : Number(other[i] !== answer.labels[i]), state => [EQUAL, DIFFERENT, null][state]];
}

export function overlayCanvas(context, overlay, hidden) {
  if (overlay === 'none') {
    return null;
  }
  const {run, before} = context;
  const key = `${overlay}/${hidden.join()}`;
  const kept = run.cache.get('overlay');
  if (kept?.key === key && kept.before === before) {
    return kept.canvas;
  }
  const {width, height} = run.header.image;
  const canvas = paintedCanvas(width, height, rgba => paintLabels(rgba, ...paintOf(context, overlay, hidden)));
  run.cache.set('overlay', {key, canvas, before});
  return canvas;
}

function paintLabels(rgba, labelAt, colourOf) {
  const colours = new Map();
  for (let i = 0; 4 * i < rgba.length; i++) {
    const label = labelAt(i);
    if (!colours.has(label)) {
      colours.set(label, colourOf(label));
    }
    const colour = colours.get(label);
    if (colour) {
      rgba[4 * i] = colour[0];
      rgba[4 * i + 1] = colour[1];
      rgba[4 * i + 2] = colour[2];
      rgba[4 * i + 3] = 255;
    }
  }
}

// One sentence on what the overlay shows.
export function overlaySentence(context, overlay) {
  const {run, answer, before, truth} = context;
  if (overlay === 'difference') {
    const {accuracy} = agreement(answer.labels, truth, run.header.model.classes.length);
    return `Orange: wrong. ${percent(accuracy)} of the labelled pixels are right.`;
  }
  if (overlay === 'change') {
    const {accuracy} = agreement(answer.labels, before.labels, run.header.model.classes.length);
    return `Orange: another class than undisturbed, ${percent(1 - accuracy)} of the picture.`;
  }
  return '';
}
