// The curves of a model: coding rates and sparsity by layer, and the numbers of the current layer.
import {chart, layerAt, legendEntry} from './chart.js';
import {element} from './elements.js';
import {sourceOf} from './disturbances.js';
import {Figure} from './figure.js';
import {PAGE_INK, PAPER_INK} from './ink.js';
import {short} from './numbers.js';
import {svg, svgFigure, svgTitle} from './svg.js';
import {tableOf} from './table.js';

const QUANTITIES = [
  ['compression', 'R_c', 'nats'],
  ['compression_normalized', 'R_c, normalised', 'nats'],
  ['expansion', 'R', 'nats'],
  ['expansion_normalized', 'R, normalised', 'nats'],
  ['sparsity', 'sparsity', 'share of zeros'],
];
const DRAWN = ['compression', 'compression_normalized', 'expansion', 'sparsity'];
const STAGES = [['input', 'input', 'ring', '1 2'], ['attention', 'after attention', 'circle', ''],
  ['feedforward', 'after feed-forward', 'square', '']];
const STAGE_COLOURS = [2, 0, 1];
const LEAST_WIDTH = 170;
const SAVED_HEIGHT = 150;
const LEGEND_HEIGHT = 18;
const ENTRY_WIDTH = 132;

function rate(layer, quantity, stage) {
  return layer?.rates?.[quantity]?.[stage] ?? null;
}

export class Curves extends Figure {
  constructor(name, store) {
    super('curves', name);
    this.setTitle('Coding rates', 'R_c is the coding rate of the tokens inside the subspaces, which attention is to '
      + 'lower; R that of the whole tokens; normalised rates see directions alone; sparsity is the share of zeros '
      + 'that ISTA leaves. Pale dashes: undisturbed.');
    this.charts = element('div', {className: 'charts'});
    this.table = element('div', {className: 'scroll'});
    this.body.append(this.charts, this.table);
    this.charts.addEventListener('click', event => {
      const drawn = event.target.closest('svg[data-quantity]');
      if (drawn) {
        const box = drawn.getBoundingClientRect();
        store.set({layer: layerAt(event.clientX - box.left, box.width, this.numbers)});
      }
    });
    new ResizeObserver(() => this.draw()).observe(this.charts);
  }

  update(run, base, layer) {
    const {layers} = run.header;
    const known = layers.concat(base.header.layers).some(other => other.rates);
    this.element.hidden = !known;
    if (!known || this.run === run && this.base === base && this.layer === layer) {
      return;
    }
    Object.assign(this, {run, base, layer});
    this.numbers = base.header.layers.map(other => other.number);
    this.draw();
    this.table.replaceChildren(...this.currentNumbers());
  }

  // The lines of a quantity; the undisturbed ones first, so that they lie behind.
  series(quantity, ink) {
    const lines = (run, faint) => {
      const byNumber = new Map(run.header.layers.map(layer => [layer.number, layer]));
      return STAGES.map(([stage, name, symbol, dash], i) => ({
        name, symbol, dash, faint, colour: ink.lines[STAGE_COLOURS[i]],
        values: this.numbers.map(number => rate(byNumber.get(number), quantity, stage)),
      })).filter(line => line.values.some(Number.isFinite));
    };
    return this.run === this.base ? lines(this.run, false) : [...lines(this.base, true), ...lines(this.run, false)];
  }

  get shown() {
    return QUANTITIES.filter(([key]) => DRAWN.includes(key) && this.series(key, PAGE_INK).length);
  }

  drawOne([quantity, title, unit], width, height, ink) {
    return chart({title, unit, layers: this.numbers, series: this.series(quantity, ink), current: this.layer.number},
      width, height, ink);
  }

  legendEntries(ink) {
    const names = new Map();
    for (const [quantity] of this.shown) {
      this.series(quantity, ink).filter(line => !line.faint).forEach(line => names.set(line.name, line));
    }
    const entries = [...names.values()];
    if (this.run !== this.base) {
      entries.push({name: 'undisturbed', colour: ink.faint, faint: true});
    }
    return entries;
  }

  // A group and its height.
  legend(width, ink) {
    const across = Math.max(1, Math.floor(width / ENTRY_WIDTH));
    const entries = this.legendEntries(ink);
    const place = i => [4 + ENTRY_WIDTH * (i % across), 13 + LEGEND_HEIGHT * Math.floor(i / across)];
    return [svg('g', {}, ...entries.map((line, i) => legendEntry(line, ...place(i), ink))),
      LEGEND_HEIGHT * Math.ceil(entries.length / across)];
  }

  draw() {
    const available = this.charts.clientWidth;
    if (!this.run || !available) {
      return;
    }
    const across = Math.max(1, Math.min(this.shown.length, Math.floor(available / LEAST_WIDTH)));
    const width = Math.floor(available / across) - 8;
    const height = Math.round(Math.max(SAVED_HEIGHT, Math.min(240, 0.45 * width)));
    const drawn = this.shown.map(quantity => {
      const root = svgFigure(width, height, null, this.drawOne(quantity, width, height, PAGE_INK));
      root.dataset.quantity = quantity[0];
      root.setAttribute('role', 'img');
      root.setAttribute('aria-label', `${quantity[1]} by layer, in ${quantity[2]}; the numbers are in the table below`);
      return root;
    });
    const [entries, legendHeight] = this.legend(available, PAGE_INK);
    const legend = svgFigure(available, legendHeight, null, entries);
    legend.setAttribute('aria-hidden', 'true');
    this.charts.replaceChildren(...drawn, legend);
  }

  currentNumbers() {
    const undisturbed = this.base.header.layers.find(other => other.number === this.layer.number);
    const cell = (quantity, stage) => {
      const value = short(rate(this.layer, quantity, stage));
      const before = short(rate(undisturbed, quantity, stage));
      return this.run === this.base || value === '–' && before === '–' ? value : `${value} (${before})`;
    };
    const rows = QUANTITIES.map(([quantity, title, unit]) => [`${title} [${unit}]`,
      ...STAGES.map(([stage]) => cell(quantity, stage))]).filter(row => row.slice(1).some(text => /\d/.test(text)));
    const caption = `Layer ${this.layer.number}` + (this.run === this.base ? '' : ' (undisturbed in brackets)');
    return rows.length === 0 ? [] : [tableOf(caption, ['', ...STAGES.map(([, name]) => name.replace('after ', ''))], rows)];
  }

  toSvg() {
    const width = 300;
    const {shown} = this;
    const parts = shown.map((quantity, i) => svg('g', {transform: `translate(${8 + i * (width + 12)} 26)`},
      this.drawOne(quantity, width, SAVED_HEIGHT, PAPER_INK)));
    parts.push(svgTitle(`Coding rates, ${sourceOf(this.run.header)}`),
      svg('g', {transform: `translate(8 ${SAVED_HEIGHT + 32})`}, this.legend(4 * ENTRY_WIDTH, PAPER_INK)[0]));
    return svgFigure(Math.max(540, 8 + shown.length * (width + 12)), SAVED_HEIGHT + 32 + LEGEND_HEIGHT + 4, PAPER_INK.back,
      ...parts);
  }

  toRows() {
    const rows = [['layer', 'name', 'part', 'attention', 'quantity', 'unit', 'stage', 'value', 'undisturbed']];
    for (const number of this.numbers) {
      const [layer, before] = [this.run, this.base].map(run => run.header.layers.find(one => one.number === number));
      const {name, part, attention} = layer ?? before;
      for (const [quantity, , unit] of QUANTITIES) {
        for (const [stage] of STAGES) {
          const values = [rate(layer, quantity, stage), rate(before, quantity, stage)];
          if (values.some(Number.isFinite)) {
            rows.push([number, name, part, attention, quantity, unit, stage, ...values]);
          }
        }
      }
    }
    return rows;
  }
}
