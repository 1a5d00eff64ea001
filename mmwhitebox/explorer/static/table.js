// Tables of texts and numbers.
import {element} from './elements.js';
import {PAPER_INK} from './ink.js';
import {svg, svgFigure, svgText, svgTitle} from './svg.js';

// Rows of texts; the first of each is its header.
export function tableOf(caption, head, rows) {
  const cells = row => row.map((text, i) => i ? element('td', {textContent: text})
    : element('th', {scope: 'row', textContent: text}));
  return element('table', {},
    element('caption', {textContent: caption}),
    element('thead', {}, element('tr', {}, ...head.map(text => text ? element('th', {scope: 'col', textContent: text})
      : element('td')))),
    element('tbody', {}, ...rows.map(row => element('tr', {}, ...cells(row)))));
}

// A bar for a share, as wide as its part of the cell.
export function shareBar(share, colour) {
  const bar = element('span', {className: 'share'});
  bar.style.setProperty('--share', `${(100 * Math.max(0, Math.min(1, share || 0))).toFixed(1)}%`);
  if (colour) {
    bar.style.setProperty('--colour', colour);
  }
  return bar;
}

// Shares as a figure that is saved, a line for each {name, share, colour, text}; the bar of a whole has `full` pixels.
export function barFigure(title, lines, full) {
  const parts = lines.flatMap(({name, share, colour, text}, i) => {
    const y = 28 + 18 * i;
    return [svgText(name, 8, y + 11, {fill: PAPER_INK.text}),
      svg('rect', {x: 150, y: y + 2, width: full * share, height: 10, fill: colour}),
      svgText(text, 155 + full * share, y + 11, {fill: PAPER_INK.faint})];
  });
  return svgFigure(Math.max(420, 7 * title.length), 36 + 18 * lines.length, PAPER_INK.back, svgTitle(title), ...parts);
}
