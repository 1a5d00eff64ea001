// The scale of a figure: a bar of its colours with the values at its ends, or the colours of the subspaces.
import {areaColour, COLOUR_MAPS, cssColour} from './colour.js';
import {svg, svgText} from './svg.js';

const STOPS = 16;
const BAR_WIDTH = 64;
const BAR_HEIGHT = 8;
export const COLOUR_BAR_HEIGHT = 16;
let bars = 0;

// A group of 16 pixels' height at the origin: {colours, low, high: texts, unit, count?}.
export function colourBar({colours, low, high, unit, count}, ink) {
  const letters = {fill: ink.faint, 'font-size': 10};
  if (colours === 'components') {
    return svg('g', {}, svgText('components 1, 2, 3 as RGB', 0, 11, letters));
  }
  if (colours === 'areas') {
    const parts = [svgText(unit, 0, 11, letters)];
    for (let k = 0; k < count; k++) {
      const x = 50 + 26 * k;
      parts.push(svg('rect', {x, y: 3, width: 9, height: 9, fill: cssColour(areaColour(k))}),
        svgText(String(k), x + 11, 11, letters));
    }
    return svg('g', {}, ...parts);
  }
  const id = `bar-${bars++}`;
  const stops = Array.from({length: STOPS + 1}, (_, i) => {
    const step = Math.round(i / STOPS * (COLOUR_MAPS[colours].length / 3 - 1));
    const colour = cssColour(COLOUR_MAPS[colours].subarray(3 * step, 3 * step + 3));
    return svg('stop', {offset: i / STOPS, 'stop-color': colour});
  });
  const left = 6 * low.length + 4;
  return svg('g', {},
    svg('defs', {}, svg('linearGradient', {id}, ...stops)),
    svgText(low, 0, 11, letters),
    svg('rect', {x: left, y: 4, width: BAR_WIDTH, height: BAR_HEIGHT, fill: `url(#${id})`}),
    svgText(`${high}  (${unit})`, left + BAR_WIDTH + 4, 11, letters));
}
