// The picture with its overlay, on which the cursor walks and the brush erases.
import {keepSharp, setAspect} from './canvas_size.js';
import {classColour, cssColour} from './colour.js';
import {followPointer, walk} from './cursor.js';
import {element, fillOptions} from './elements.js';
import {sourceOf} from './disturbances.js';
import {Figure} from './figure.js';
import {PAPER_INK} from './ink.js';
import {cellOf} from './maps.js';
import {drawMarks} from './marks.js';
import {newCanvas, pictureCanvas} from './pixels.js';
import {OVERLAYS, overlayCanvas, overlayOf, overlaySentence} from './overlay.js';
import {cursorOf} from './state.js';
import {svg, svgFigure, svgText, svgTitle} from './svg.js';

const ARROWS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
const SAVED_WIDTH = 560;
const LEGEND_ROW = 16;
const LEGEND_COLUMN = 170;

export class Picture extends Figure {
  constructor(name, store, paint) {
    super('picture', name);
    this.store = store;
    this.canvas = element('canvas');
    this.stage = element('div', {className: 'stage', tabIndex: 0, role: 'application'}, this.canvas);
    this.overlay = element('select');
    this.overlay.onchange = () => store.set({overlay: this.overlay.value});
    this.opacity = element('input', {type: 'range', min: 0, max: 1, step: 0.05});
    this.opacity.oninput = () => store.set({opacity: Number(this.opacity.value)});
    const labelled = (text, control) => element('label', {}, text, ' ', control);
    this.controls = element('div', {className: 'fields'}, labelled('Overlay', this.overlay),
      labelled('Opacity', this.opacity));
    this.body.append(this.stage, this.controls);
    followPointer(this.canvas, store, place => paint(this.run, place));
    this.stage.addEventListener('keydown', event => {
      if (event.key in ARROWS && !event.altKey && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        walk(store, this.run.header, ...ARROWS[event.key]);
      }
    });
    keepSharp(this.canvas, () => this.draw());
  }

  update(context, state, erased) {
    const {image, model} = context.run.header;
    Object.assign(this, {context, state, erased, run: context.run});
    this.setTitle(image.name, model.task === 'segmentation'
      ? 'The picture as the model sees it, with its answer over it: every pixel in the colour of its class. Move over '
        + 'it to look at a patch, click to pin it, and walk with the arrow keys.'
      : 'The picture as the model sees it. Move over it to look at a patch, click to pin it, and walk with the arrow '
        + 'keys.');
    this.stage.setAttribute('aria-label', `Picture ${image.name}; the arrow keys walk the patches, Enter pins one`);
    const offered = OVERLAYS.filter(overlay => overlay.applies(context));
    this.controls.hidden = offered.length < 2;
    fillOptions(this.overlay, offered.map(overlay => [overlay.id, overlay.name]));
    this.shown = overlayOf(context, state.overlay);
    this.overlay.value = this.shown;
    this.opacity.value = state.opacity;
    setAspect(this.canvas, image.width, image.height);
    this.canvas.classList.toggle('brushing', Boolean(state.brushing));
    this.draw();
    const {row, column} = cellOf(context.run.header, cursorOf(state));
    this.readout.textContent = [overlaySentence(context, this.shown), `Patch row ${row}, column ${column}.`, image.note]
      .filter(Boolean).join(' ');
  }

  paintOn(canvas) {
    const context = canvas.getContext('2d');
    const {width, height} = canvas;
    context.globalAlpha = 1;
    context.imageSmoothingEnabled = true;
    context.drawImage(pictureCanvas(this.run), 0, 0, width, height);
    const overlay = overlayCanvas(this.context, this.shown, this.state.hidden);
    if (overlay) {
      context.imageSmoothingEnabled = false;
      context.globalAlpha = this.state.opacity;
      context.drawImage(overlay, 0, 0, width, height);
      context.globalAlpha = 1;
    }
    this.drawErased(context);
    drawMarks(context, this.run.header, this.state);
  }

  // Erased patches are hatched.
  drawErased(context) {
    const {grid, patch, image} = this.run.header;
    const scale = context.canvas.width / image.width;
    const [w, h] = [patch[1] * scale, patch[0] * scale];
    context.setLineDash([]);
    for (const index of this.erased) {
      const [x, y] = [(index % grid[1]) * w, Math.floor(index / grid[1]) * h];
      context.fillStyle = 'rgb(128 128 128 / 0.75)';
      context.fillRect(x, y, w, h);
      context.strokeStyle = '#fff';
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x, y + h);
      context.lineTo(x + w, y);
      context.stroke();
    }
  }

  draw() {
    if (this.run && this.canvas.width > 1) {
      this.paintOn(this.canvas);
    }
  }

  // Classes that the legend of a saved picture names.
  get legendClasses() {
    const {model} = this.run.header;
    const {answer, truth} = this.context;
    const labels = this.shown === 'answer' ? answer.labels : this.shown === 'truth' ? truth : [];
    const present = [...new Set(labels)].filter(label => label < model.classes.length
      && !this.state.hidden.includes(label));
    return present.sort((a, b) => a - b);
  }

  toSvg() {
    const {image, model} = this.run.header;
    const height = Math.round(SAVED_WIDTH * image.height / image.width);
    const canvas = newCanvas(2 * SAVED_WIDTH, 2 * height);
    this.paintOn(canvas);
    const across = Math.floor(SAVED_WIDTH / LEGEND_COLUMN);
    const classes = this.legendClasses;
    const legend = classes.flatMap((label, i) => {
      const x = 8 + (i % across) * LEGEND_COLUMN;
      const y = 34 + height + Math.floor(i / across) * LEGEND_ROW;
      return [svg('rect', {x, y, width: 10, height: 10, fill: cssColour(classColour(model, label))}),
        svgText(model.classes[label], x + 15, y + 9, {fill: PAPER_INK.text})];
    });
    return svgFigure(SAVED_WIDTH + 16, 44 + height + Math.ceil(classes.length / across) * LEGEND_ROW, PAPER_INK.back,
      svgTitle(sourceOf(this.run.header)),
      svg('image', {x: 8, y: 26, width: SAVED_WIDTH, height, href: canvas.toDataURL('image/png')}), ...legend);
  }

  toRows() {
    const {model, image} = this.run.header;
    const {answer, truth} = this.context;
    const rows = [['y', 'x', 'answer', ...(truth ? ['ground truth'] : [])]];
    if (!answer) {
      return [['picture', 'width', 'height'], [image.name, image.width, image.height]];
    }
    for (let i = 0; i < answer.labels.length; i++) {
      rows.push([Math.floor(i / image.width), i % image.width, model.classes[answer.labels[i]],
        ...(truth ? [model.classes[truth[i]] ?? ''] : [])]);
    }
    return rows;
  }
}
