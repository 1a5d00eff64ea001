// Elements of SVG, by presentation attributes alone, so that a saved figure needs no style sheet.
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

export function svgFigure(width, height, background, ...children) {
  const size = {width, height, viewBox: `0 0 ${width} ${height}`, xmlns: NAMESPACE};
  const root = svg('svg', size);
  if (background) {
    root.append(svg('rect', {width, height, fill: background}));
  }
  root.append(...children);
  return root;
}
