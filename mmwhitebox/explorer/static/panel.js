// One model: the picture and its answer, the course through the layers, the maps of the current layer.
import {Segmentation} from './answer.js';
import {Classes} from './classes.js';
import {Curves} from './curves.js';
import {describeAll, erasedOf, takenBy} from './disturbances.js';
import {element, fromTemplate} from './elements.js';
import {factsElements, factsLine} from './facts.js';
import {MAP_KINDS} from './map_kinds.js';
import {MapFigure} from './map_figure.js';
import {contextOf} from './overlay.js';
import {Picture} from './picture.js';
import {Probabilities} from './probabilities.js';
import {safeName} from './save.js';
import {Strip} from './strip.js';

export function layerNumbered(header, number) {
  return header.layers.reduce((best, layer) =>
    Math.abs(layer.number - number) < Math.abs(best.number - number) ? layer : best);
}

function answerOf(run) {
  return run.once('answer', () => new Segmentation(run));
}

export class Panel {
  constructor(model, store, paint, step) {
    this.store = store;
    this.element = fromTemplate('panel-template');
    this.element.dataset.model = model.id;
    const find = selector => this.element.querySelector(selector);
    this.find = find;
    find('h2').textContent = model.name;
    this.element.setAttribute('aria-label', `Model ${model.name}`);
    find('.facts').textContent = factsLine(model);
    const name = (id, withLayer = true) => () => safeName(this.run.header.model.name, this.run.header.image.name,
      withLayer ? `layer${this.layer.number}` : '', id);
    this.picture = new Picture(name('picture', false), store, paint);
    this.probabilities = new Probabilities(name('probabilities', false));
    this.classes = new Classes(name('classes', false), store);
    this.strip = new Strip(name('strip', false), store, step);
    this.curves = new Curves(name('rates', false), store);
    this.maps = MAP_KINDS.map(kind => new MapFigure(kind, name(kind.id), store));
    find('.left').append(...[this.picture, this.probabilities, this.classes].map(figure => figure.element));
    find('.course').append(this.strip.element, this.curves.element);
    this.mapsTitle = element('h3', {className: 'layer-title'});
    find('.maps').append(this.mapsTitle, ...this.maps.map(figure => figure.element));
    find('.columns').hidden = true;
  }

  show(base, run) {
    Object.assign(this, {base, run});
    this.find('.columns').hidden = false;
    const disturbed = run === base ? '' : `disturbed: ${describeAll(run.header.what_if)}`;
    this.find('.facts').textContent = [factsLine(run.header.model), disturbed].filter(Boolean).join(' · ');
    this.find('.about > div').replaceChildren(...factsElements(run.header.model, run.header.image));
    this.find('.notes').replaceChildren(...run.header.notes.map(text => element('li', {textContent: text})));
    this.context = contextOf(run, base, answerOf);
    this.update(this.store.state);
  }

  // A picture that this model has no answer to: nothing of the one before is left.
  clear(reason) {
    this.base = this.run = undefined;
    this.find('.columns').hidden = true;
    this.find('.notes').replaceChildren(element('li', {textContent: reason}));
  }

  get header() {
    return this.base?.header;
  }

  update(state) {
    if (!this.run) {
      return;
    }
    const {layers} = this.run.header;
    const erased = erasedOf(takenBy(state.whatIf.filter(item => item.grid), this.header))?.patches
      ?? erasedOf(this.run.header.what_if)?.patches ?? [];
    this.picture.update(this.context, state, erased);
    this.probabilities.update(this.context, this.base, state);
    this.classes.update(this.context, state);
    this.find('.right').hidden = !layers.length;
    if (!layers.length) {
      return;
    }
    this.layer = layerNumbered(this.run.header, state.layer);
    this.mapsTitle.textContent = `Layer ${this.layer.number}: ${this.layer.attention}, ${this.layer.part}, `
      + `${this.layer.heads} heads of ${this.layer.head_dims} dimensions`;
    this.strip.update(this.run, this.layer, state);
    this.curves.update(this.run, this.base, this.layer);
    for (const figure of this.maps) {
      figure.update(this.run, this.layer, state);
    }
  }
}
