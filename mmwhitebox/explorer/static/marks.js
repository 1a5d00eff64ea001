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
    const x = column * header.patch[1] * scale;
    const y = row * header.patch[0] * scale;
    const [w, h] = [header.patch[1] * scale, header.patch[0] * scale];
    context.setLineDash([]);
    context.lineWidth = 3 * unit;
    context.strokeStyle = '#000';
    context.strokeRect(x, y, w, h);
    context.setLineDash(letter ? [] : [3 * unit, 2 * unit]);
    context.lineWidth = 1.5 * unit;
    context.strokeStyle = '#fff';
    context.strokeRect(x, y, w, h);
    if (letter && Math.min(width, height) / unit >= LEAST_SIDE_FOR_LETTERS) {
      drawLetter(context, letter, x + w, y > 14 * unit ? y : y + h + 14 * unit, unit);
    }
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
