// One small map: a canvas of cells in colours over the grey picture, with a caption.
import {keepSharp, setAspect} from './canvas_size.js';
import {paintAreas, paintComponents, paintValues} from './colour.js';
import {element} from './elements.js';
import {drawMarks, outline} from './marks.js';
import {greyCanvas, newCanvas, paintedCanvas} from './pixels.js';

const cellCanvas = newCanvas(1, 1);

// The cells of a map as a small canvas, one pixel a cell; it is used again for the next map.
function paintedCells(tile, rows, columns) {
  return paintedCanvas(columns, rows, rgba => {
    if (tile.colours === 'areas') {
      paintAreas(rgba, tile.values);
    } else if (tile.colours === 'components') {
      paintComponents(rgba, tile.values);
    } else {
      paintValues(rgba, tile.values, tile.colours, tile.low, tile.high);
    }
  }, cellCanvas);
}

// Draws a tile {values, colours, low, high, grid?, mosaic?, marked?} on a canvas.
export function drawTile(canvas, tile, run, backdrop, state) {
  const context = canvas.getContext('2d');
  const {grid, patch, image} = run.header;
  const {width, height} = canvas;
  context.imageSmoothingEnabled = false;
  context.globalAlpha = 1;
  if (tile.mosaic) {
    const cells = paintedCells(tile, ...tile.grid);
    context.drawImage(cells, 0, 0, width, height);
    drawMosaicLines(context, tile);
    return;
  }
  context.drawImage(greyCanvas(run), 0, 0, width, height);
  context.globalAlpha = 1 - backdrop;
  const cells = paintedCells(tile, ...grid);
  context.drawImage(cells, 0, 0, grid[1] * patch[1] * width / image.width, grid[0] * patch[0] * height / image.height);
  context.globalAlpha = 1;
  if (state) {
    drawMarks(context, run.header, state);
  }
}

function drawMosaicLines(context, {mosaic: [down, across], count, marked}) {
  const [w, h] = [context.canvas.width / across, context.canvas.height / down];
  context.fillStyle = '#fff';
  for (let i = 1; i < across; i++) {
    context.fillRect(Math.round(i * w), 0, 1, down * h);
  }
  for (let i = 1; i < down; i++) {
    context.fillRect(0, Math.round(i * h), across * w, 1);
  }
  if (count < down * across) {
    context.clearRect((count % across) * w + 1, (down - 1) * h + 1, w * across, h);
  }
  if (marked !== null) {
    const [x, y] = [(marked % across) * w, Math.floor(marked / across) * h];
    outline(context, [x + 1, y + 1, w - 2, h - 2], 4);
  }
}

export class TileView {
  constructor() {
    this.canvas = element('canvas', {role: 'img'});
    this.caption = element('p');
    this.element = element('div', {className: 'tile'}, this.canvas, this.caption);
    keepSharp(this.canvas, () => this.redraw());
  }

  show(tile, run, state, caption, description) {
    const {image, patch} = run.header;
    if (tile.mosaic) {
      setAspect(this.canvas, tile.grid[1] * patch[1], tile.grid[0] * patch[0]);
    } else {
      setAspect(this.canvas, image.width, image.height);
    }
    this.redraw = () => drawTile(this.canvas, tile, run, state.backdrop, state);
    this.redraw();
    this.caption.textContent = caption;
    this.canvas.setAttribute('aria-label', description);
  }

  redraw() {}
}
