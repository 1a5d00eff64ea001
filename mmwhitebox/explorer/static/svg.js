// Elements of SVG, by presentation attributes alone, so that a saved figure needs no style sheet.
import {PAPER_INK} from './ink.js';

const NAMESPACE = 'http://www.w3.org/2000/svg';
const FONT = 'system-ui, Helvetica, Arial, sans-serif';

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

export function svgText(text, x, y, attributes = {}) {
  return svg('text', {x, y, 'font-size': 11, 'font-family': FONT, ...attributes}, text);
}

// The title of a figure that is saved.
export function svgTitle(text) {
  return svgText(text, 8, 18, {fill: PAPER_INK.text, 'font-weight': 'bold'});
}

export function svgFigure(width, height, background, ...children) {
  return svg('svg', {width, height, viewBox: `0 0 ${width} ${height}`, xmlns: NAMESPACE},
    ...(background ? [svg('rect', {width, height, fill: background})] : []), ...children);
}
