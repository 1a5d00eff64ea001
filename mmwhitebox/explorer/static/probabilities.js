// The likeliest classes: of the pixel under the cursor, or of the picture.
import {classColour, cssColour} from './colour.js';
import {element} from './elements.js';
import {sourceOf} from './disturbances.js';
import {Figure} from './figure.js';
import {percent} from './numbers.js';
import {cursorOf} from './state.js';
import {barFigure, shareBar} from './table.js';

const SHOWN = 5;

export class Probabilities extends Figure {
  constructor(name) {
    super('probabilities', name);
    this.table = element('table', {className: 'classes'});
    this.body.append(this.table);
    this.rows = [];
  }

  update(context, base, state) {
    const {run} = context;
    const {model, prediction} = run.header;
    this.element.hidden = !prediction;
    if (!prediction) {
      return;
    }
    const ofPixel = prediction.kind === 'segmentation';
    this.setTitle(ofPixel ? 'Under the cursor' : 'Answer', ofPixel
      ? 'The probabilities of the likeliest classes at the cursor: the softmax of the interpolated logits.'
      : 'The likeliest classes of the whole picture, with their probabilities.');
    this.place = ofPixel ? cursorOf(state) : null;
    this.run = run;
    const read = other => ofPixel ? (other === run ? context.answer : context.before).probabilities(this.place)
      : other.values(other.header.prediction.probabilities);
    this.values = read(run);
    this.before = base === run ? null : read(base);
    const order = Array.from(this.values.keys()).sort((a, b) => this.values[b] - this.values[a]);
    this.top = order.slice(0, SHOWN);
    this.fill(model);
  }

  fill(model) {
    while (this.rows.length < this.top.length) {
      const parts = {name: element('th', {scope: 'row'}), bar: shareBar(0), text: element('span'),
        before: element('td')};
      parts.row = element('tr', {}, parts.name, element('td', {}, parts.bar, ' ', parts.text), parts.before);
      this.rows.push(parts);
      this.table.append(parts.row);
    }
    this.rows.forEach((parts, i) => {
      const index = this.top[i];
      parts.row.hidden = index === undefined;
      if (index === undefined) {
        return;
      }
      parts.name.textContent = model.classes[index] ?? `class ${index}`;
      parts.bar.style.setProperty('--share', `${(100 * this.values[index]).toFixed(1)}%`);
      parts.bar.style.setProperty('--colour', cssColour(classColour(model, index)));
      parts.text.textContent = percent(this.values[index]);
      parts.before.textContent = this.before ? `undisturbed ${percent(this.before[index])}` : '';
    });
  }

  toSvg() {
    const {model} = this.run.header;
    const place = this.place ? ` at (${this.place.x.toFixed(3)}, ${this.place.y.toFixed(3)})` : '';
    const lines = this.top.map(index => ({name: model.classes[index] ?? `class ${index}`, share: this.values[index],
      colour: cssColour(classColour(model, index)), text: percent(this.values[index])}));
    return barFigure(`Probabilities${place}, ${sourceOf(this.run.header)}`, lines, 160);
  }

  toRows() {
    const {classes} = this.run.header.model;
    return [['class', 'probability', ...(this.before ? ['undisturbed'] : [])],
      ...Array.from(this.values, (value, i) => [classes[i] ?? `class ${i}`, value,
        ...(this.before ? [this.before[i]] : [])])];
  }
}
