// Tables of texts and numbers.
import {element} from './elements.js';


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
