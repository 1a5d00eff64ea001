// A line chart over the layers, in SVG: units on the axis, the current layer marked.
import {short} from './numbers.js';
import {svg, svgText} from './svg.js';

const LEFT = 46;
const RIGHT = 8;
const TOP = 22;
const BOTTOM = 26;
const SYMBOLS = {
  circle: (x, y, attributes) => svg('circle', {cx: x, cy: y, r: 2.6, ...attributes}),
  square: (x, y, attributes) => svg('rect', {x: x - 2.4, y: y - 2.4, width: 4.8, height: 4.8, ...attributes}),
  ring: (x, y, attributes) => svg('circle', {cx: x, cy: y, r: 2.2, ...attributes, fill: 'none',
    stroke: attributes.fill}),
};

// Round values between two ends, about `count` of them.
function niceTicks(low, high, count = 4) {
  const rough = (high - low) / count || Math.abs(low) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough * 0.99999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
    ticks.push(i * step);
  }
  return ticks;
}

// `series`: [{name, values by layer, colour, symbol, dash?, faint?}]; `layers`: their numbers.
export function chart({title, unit, layers, series, current}, width, height, ink) {
  const all = series.flatMap(line => line.values).filter(Number.isFinite);
  let [low, high] = [Math.min(...all), Math.max(...all)];
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low >= 0 ? Math.max(0, low - margin) : low - margin, high + margin];
  const first = layers[0];
  const span = Math.max(1, layers.at(-1) - first);
  const xOf = number => LEFT + 6 + (number - first) / span * (width - LEFT - RIGHT - 12);
  const yOf = value => height - BOTTOM - (value - low) / (high - low) * (height - TOP - BOTTOM);
  const parts = [svgText(`${title}  [${unit}]`, 2, 12, {fill: ink.text})];
  for (const tick of niceTicks(low, high, height < 130 ? 3 : 4)) {
    const y = yOf(tick);
    parts.push(svg('line', {x1: LEFT, x2: width - RIGHT, y1: y, y2: y, stroke: ink.line, 'stroke-width': 0.75}),
      svgText(tickText(tick), LEFT - 5, y + 3.5, {fill: ink.faint, 'font-size': 10, 'text-anchor': 'end'}));
  }
  const every = Math.ceil(span * 20 / (width - LEFT - RIGHT));
  for (const number of layers.filter(other => (other - first) % every === 0)) {
    parts.push(svgText(String(number), xOf(number), height - BOTTOM + 12, {fill: ink.faint, 'font-size': 10,
      'text-anchor': 'middle'}));
  }
  parts.push(svgText('layer', width - RIGHT, height - 3, {fill: ink.faint, 'font-size': 10, 'text-anchor': 'end'}));
  if (current !== null) {
    parts.push(svg('line', {x1: xOf(current), x2: xOf(current), y1: TOP - 4, y2: height - BOTTOM, stroke: ink.text,
      'stroke-width': 1, 'stroke-dasharray': '2 2', class: 'current-layer'}));
  }
  for (const line of series) {
    parts.push(curve(line, layers, xOf, yOf));
  }
  return svg('g', {}, ...parts);
}

function tickText(value) {
  return Math.abs(value) >= 1000 ? short(value) : String(Number(value.toPrecision(4)));
}

function curve({values, colour, symbol, dash, faint}, layers, xOf, yOf) {
  const group = svg('g', {opacity: faint ? 0.45 : 1});
  let path = '';
  values.forEach((value, i) => {
    if (Number.isFinite(value)) {
      const goesOn = i && Number.isFinite(values[i - 1]);
      path += `${goesOn ? 'L' : 'M'}${xOf(layers[i]).toFixed(1)} ${yOf(value).toFixed(1)}`;
      if (!faint) {
        group.append(SYMBOLS[symbol](xOf(layers[i]), yOf(value), {fill: colour}));
      }
    }
  });
  group.prepend(svg('path', {d: path, fill: 'none', stroke: colour, 'stroke-width': faint ? 1.5 : 1.25,
    ...(dash || faint ? {'stroke-dasharray': faint ? '5 3' : dash} : {})}));
  return group;
}

// The layer whose place on a chart is nearest to a horizontal place in pixels.
export function layerAt(x, width, layers) {
  const share = (x - LEFT - 6) / (width - LEFT - RIGHT - 12);
  const wanted = layers[0] + share * (layers.at(-1) - layers[0]);
  return layers.reduce((best, number) => Math.abs(number - wanted) < Math.abs(best - wanted) ? number : best);
}

export function legendEntry({name, colour, symbol, dash, faint}, x, y, ink) {
  const line = {x1: x, x2: x + 20, y1: y - 4, y2: y - 4, stroke: colour, 'stroke-width': 1.25, opacity: faint ? 0.45 : 1,
    ...(dash || faint ? {'stroke-dasharray': faint ? '5 3' : dash} : {})};
  return svg('g', {}, svg('line', line), ...(faint ? [] : [SYMBOLS[symbol](x + 10, y - 4, {fill: colour})]),
    svgText(name, x + 25, y, {fill: ink.faint, 'font-size': 10.5}));
}
