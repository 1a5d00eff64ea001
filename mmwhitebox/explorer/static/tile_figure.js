// A figure of one or many small maps with one colour scale.
import {COLOUR_BAR_HEIGHT, colourBar} from './colour_bar.js';
import {followPointer} from './cursor.js';
import {element} from './elements.js';
import {sourceOf} from './disturbances.js';
import {Figure} from './figure.js';
import {PAGE_INK, PAPER_INK} from './ink.js';
import {cellOf} from './maps.js';
import {short} from './numbers.js';
import {newCanvas} from './pixels.js';
import {cursorOf} from './state.js';
import {svg, svgFigure, svgText, svgTitle} from './svg.js';
import {drawTile, TileView} from './tile.js';

const SAVED_SIDE = 200;
const SAVED_ACROSS = 6;
const GAP = 8;
const CAPTION = 15;
const HEAD = 42;

function rangeOf(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

// Gives every tile its unit and the ends of its colour scale, and returns what the colour bar says.
export function scaleTiles(kind, tiles, layer, scale) {
  const unit = kind.unit(layer);
  tiles.forEach(tile => Object.assign(tile, {unit}));
  if (kind.colours === 'areas' || kind.colours === 'components') {
    tiles.forEach(tile => Object.assign(tile, {colours: kind.colours}));
    return {colours: kind.colours, low: '', high: '', unit, count: layer.heads};
  }
  const shared = scale === 'shared';
  const ranges = tiles.map(tile => rangeOf(tile.values));
  const outer = [Math.min(...ranges.map(range => range[0])), Math.max(...ranges.map(range => range[1]))];
  const colours = shared && kind.sharedColours ? kind.sharedColours : kind.colours;
  tiles.forEach((tile, i) => {
    let [low, high] = shared ? kind.sharedRange ?? outer : ranges[i];
    if (kind.fromZero) {
      low = Math.min(0, low);
    }
    Object.assign(tile, {colours, low, high});
  });
  const own = !shared && tiles.length > 1;
  const {low, high} = tiles[0];
  return {colours, unit, low: own && !kind.fromZero ? 'min' : short(low), high: own ? 'max of each' : short(high)};
}

export class TileFigure extends Figure {
  constructor(id, name, store) {
    super(id, name);
    this.store = store;
    this.views = [];
    this.grid = element('div', {className: 'tiles'});
    this.bar = svgFigure(330, COLOUR_BAR_HEIGHT, null);
    this.bar.removeAttribute('viewBox');
    this.bar.setAttribute('class', 'bar');
    this.bar.setAttribute('aria-hidden', 'true');
    this.empty = element('p', {className: 'empty'});
    this.body.append(this.grid, this.empty, this.bar);
  }

  // `tiles`: a list, or the sentence that says why there are none. `legend`: from scaleTiles.
  show(tiles, run, state, legend) {
    const none = typeof tiles === 'string';
    this.empty.textContent = none ? tiles : '';
    this.empty.hidden = !none;
    this.grid.hidden = this.bar.toggleAttribute('hidden', none);
    this.tiles = none ? [] : tiles;
    [this.run, this.state, this.legend] = [run, state, legend];
    this.grid.dataset.count = Math.min(this.tiles.length, 9);
    while (this.views.length < this.tiles.length) {
      const view = new TileView();
      this.views.push(view);
      this.attach(view);
    }
    this.placeViews();
    this.tiles.forEach((tile, i) => {
      const caption = this.captionOf(tile);
      this.views[i].show(tile, run, state, caption, `${this.heading.textContent}: ${caption || 'map'}`);
    });
    if (!none) {
      this.showBar(legend);
    }
  }

  placeViews() {
    while (this.grid.childElementCount > this.tiles.length) {
      this.grid.lastElementChild.remove();
    }
    for (let i = this.grid.childElementCount; i < this.tiles.length; i++) {
      this.grid.append(this.views[i].element);
    }
  }

  attach(view) {
    followPointer(view.canvas, this.store);
  }

  showBar(legend) {
    const key = JSON.stringify(legend);
    if (this.barKey !== key) {
      this.barKey = key;
      this.bar.replaceChildren(colourBar(legend, PAGE_INK));
    }
  }

  captionOf(tile) {
    const value = this.valueAtCursor(tile);
    return tile.label && value ? `${tile.label}: ${value}` : tile.label || (value && `${value} at the cursor`);
  }

  valueAtCursor(tile) {
    if (tile.mosaic || tile.colours === 'components') {
      return '';
    }
    const {row, column} = cellOf(this.run.header, cursorOf(this.state));
    const value = tile.values[row * this.run.header.grid[1] + column];
    return tile.colours === 'areas' ? `subspace ${value}` : short(value);
  }

  toSvg() {
    const {image} = this.run.header;
    const first = this.tiles[0] ?? {};
    const aspect = first.mosaic ? first.grid[1] * this.run.header.patch[1] / (first.grid[0] * this.run.header.patch[0])
      : image.width / image.height;
    const side = first.mosaic ? 3 * SAVED_SIDE : SAVED_SIDE;
    const height = Math.round(side / aspect);
    const across = Math.max(1, Math.min(this.tiles.length, this.savedAcross ?? SAVED_ACROSS));
    const down = Math.ceil(this.tiles.length / across);
    const [title, source] = [this.savedTitle(), sourceOf(this.run.header)];
    const width = Math.max(360, across * (side + GAP) + GAP, 7 * title.length + GAP, 6 * source.length + GAP);
    const parts = [svgTitle(title),
      svgText(source, GAP, 33, {fill: PAPER_INK.faint, 'font-size': 10})];
    this.tiles.forEach((tile, i) => {
      const x = GAP + (i % across) * (side + GAP);
      const y = HEAD + Math.floor(i / across) * (height + CAPTION + GAP);
      const canvas = newCanvas(2 * side, 2 * height);
      drawTile(canvas, tile, this.run, this.state.backdrop, this.state);
      parts.push(svg('image', {x, y, width: side, height, href: canvas.toDataURL('image/png')}),
        svgText(tile.label, x, y + height + 11, {fill: PAPER_INK.faint, 'font-size': 10}));
    });
    const foot = HEAD + down * (height + CAPTION + GAP);
    if (this.tiles.length) {
      parts.push(svg('g', {transform: `translate(${GAP} ${foot})`}, colourBar(this.legend, PAPER_INK)));
    }
    return svgFigure(width, foot + COLOUR_BAR_HEIGHT + GAP, PAPER_INK.back, ...parts);
  }

  savedTitle() {
    return this.heading.textContent;
  }

  toRows() {
    const names = this.legend?.colours === 'components' ? ['red', 'green', 'blue'] : ['value'];
    const rows = [['map', 'row', 'column', ...names, 'unit']];
    for (const tile of this.tiles.filter(other => !other.absent)) {
      this.rowsOf(tile, rows, names.length);
    }
    return rows;
  }

  // Of every value the map, the row and column of its patch; a mosaic is as many maps as are laid out in it.
  rowsOf(tile, rows, size) {
    const [down, across] = this.run.header.grid;
    const maps = tile.mosaic ? tile.count : 1;
    for (let j = 0; j < maps; j++) {
      const label = tile.mosaic ? [`no. ${j}`, tile.label].filter(Boolean).join(', ') : tile.label;
      const [top, left, width] = tile.mosaic
        ? [Math.floor(j / tile.mosaic[1]) * down, j % tile.mosaic[1] * across, tile.grid[1]] : [0, 0, across];
      for (let row = 0; row < down; row++) {
        for (let column = 0; column < across; column++) {
          const from = ((top + row) * width + left + column) * size;
          rows.push([label, row, column, ...tile.values.subarray(from, from + size), tile.unit]);
        }
      }
    }
  }
}
