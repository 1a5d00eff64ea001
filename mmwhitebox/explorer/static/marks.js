// Outlines of patches: the pins A and B and the cursor, white in black so that they are seen on any colour.
import {cellOf} from './maps.js';
import {cursorOf} from './state.js';

const LEAST_SIDE_FOR_LETTERS = 140;

export function drawMarks(context, header, state) {
  const {width, height} = context.canvas;
  const scale = width / header.image.width;
  const unit = Math.max(1, Math.min(window.devicePixelRatio || 1, width / 100));
  const places = state.pins.map((place, i) => [place, 'AB'[i]]).filter(([place]) => place.x !== undefined);
  const cursor = cursorOf(state);
  if (!places.some(([place]) => place === cursor)) {
    places.push([cursor, '']);
  }
  for (const [place, letter] of places) {
    const {row, column} = cellOf(header, place);
    const [w, h] = [header.patch[1] * scale, header.patch[0] * scale];
    const [x, y] = [column * w, row * h];
    outline(context, [x, y, w, h], 3 * unit, letter ? [] : [3 * unit, 2 * unit]);
    if (letter && Math.min(width, height) / unit >= LEAST_SIDE_FOR_LETTERS) {
      drawLetter(context, letter, x + w, y > 14 * unit ? y : y + h + 14 * unit, unit);
    }
  }
}

// A rectangle of a white line, dashed or not, in a black one of twice its width.
export function outline(context, box, width, dashes = []) {
  for (const [colour, lineWidth, pattern] of [['#000', width, []], ['#fff', width / 2, dashes]]) {
    context.setLineDash(pattern);
    Object.assign(context, {lineWidth, strokeStyle: colour}).strokeRect(...box);
  }
}

function drawLetter(context, letter, x, y, unit) {
  context.setLineDash([]);
  context.font = `bold ${12 * unit}px system-ui, sans-serif`;
  context.lineWidth = 3 * unit;
  context.strokeStyle = '#000';
  context.strokeText(letter, x + unit, y - unit);
  context.fillStyle = '#fff';
  context.fillText(letter, x + unit, y - unit);
}
