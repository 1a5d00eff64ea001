// The legend of a segmentation: every class, its share, what it was undisturbed, IoU; classes go on and off.
import {agreement} from './answer.js';
import {classColour, cssColour} from './colour.js';
import {pin} from './cursor.js';
import {element} from './elements.js';
import {sourceOf} from './disturbances.js';
import {Figure} from './figure.js';
import {percent} from './numbers.js';
import {barFigure, shareBar} from './table.js';

const LEAST_SHARE = 5e-5;

export class Classes extends Figure {
  constructor(name, store) {
    super('classes', name);
    this.store = store;
    this.table = element('div', {className: 'scroll'});
    this.all = element('button', {type: 'button', textContent: 'All on'});
    this.all.onclick = () => store.set({hidden: []});
    this.none = element('button', {type: 'button', textContent: 'All off'});
    this.none.onclick = () => store.set({hidden: this.run.header.model.classes.map((_, i) => i)});
    this.body.append(this.table, element('div', {className: 'fields'}, this.all, this.none));
    this.setTitle('Classes', 'The share of the picture that each class covers in the answer; with a ground truth also '
      + 'its IoU on this picture. Tick a class to show its pixels; press its name to make its token the query.');
  }

  update(context, state) {
    this.element.hidden = !context.answer;
    if (!context.answer) {
      return;
    }
    if (this.context?.run !== context.run || this.context.before !== context.before) {
      Object.assign(this, {context, run: context.run});
      this.compute();
      this.build();
    }
    for (const box of this.table.querySelectorAll('input')) {
      box.checked = !state.hidden.includes(Number(box.value));
    }
    for (const name of this.table.querySelectorAll('button')) {
      name.setAttribute('aria-pressed', String(state.pins.some(place => place.token === name.textContent)));
    }
  }

  compute() {
    const {answer, before, truth} = this.context;
    const {classes} = this.run.header.model;
    this.scores = truth ? agreement(answer.labels, truth, classes.length) : null;
    this.rows = classes.map((name, index) => ({name, index, share: answer.shares[index],
      before: before?.shares[index] ?? null, iou: this.scores?.iou[index] ?? null}));
    const isPresent = row => row.share > LEAST_SHARE || row.before > LEAST_SHARE || Number.isFinite(row.iou ?? NaN);
    this.present = this.rows.filter(isPresent).sort((a, b) => b.share - a.share);
    this.absent = this.rows.filter(row => !isPresent(row));
  }

  build() {
    const columns = ['', 'class', 'share', ...(this.context.before ? ['undisturbed'] : []),
      ...(this.scores ? ['IoU'] : [])];
    const head = element('thead', {}, element('tr', {}, ...columns.map((text, i) => i
      ? element('th', {scope: 'col', textContent: text}) : element('td'))));
    const table = element('table', {className: 'classes'}, head,
      element('tbody', {}, ...this.present.map(row => this.rowElement(row))));
    const parts = [table];
    if (this.absent.length) {
      parts.push(element('details', {}, element('summary', {textContent: `${this.absent.length} more classes, not in `
        + 'the picture'}), element('table', {className: 'classes'},
        element('tbody', {}, ...this.absent.map(row => this.rowElement(row))))));
    }
    this.table.replaceChildren(...parts);
  }

  rowElement({name, index, share, before, iou}) {
    const {model, layers} = this.run.header;
    const colour = cssColour(classColour(model, index));
    const box = element('input', {type: 'checkbox', value: index});
    box.setAttribute('aria-label', `Show ${name}`);
    box.onchange = () => this.toggle(index, box.checked);
    const swatch = element('span', {className: 'swatch'});
    swatch.style.setProperty('--colour', colour);
    const hasToken = layers.some(layer => layer.extra.includes(name));
    const label = hasToken ? element('button', {type: 'button', className: 'plain', textContent: name})
      : element('span', {textContent: name});
    const row = element('tr', {},
      element('td', {}, element('label', {className: 'tick'}, box, swatch)),
      element('th', {scope: 'row'}, label),
      element('td', {}, shareBar(share, colour), ` ${percent(share)}`));
    if (this.context.before) {
      row.append(element('td', {textContent: percent(before)}));
    }
    if (this.scores) {
      row.append(element('td', {textContent: percent(iou)}));
    }
    if (hasToken) {
      label.onclick = () => pin(this.store, {token: name});
      row.onpointerenter = () => this.store.set({hover: {token: name}});
      row.onpointerleave = () => this.store.set({hover: null});
    }
    return row;
  }

  toggle(index, on) {
    const {hidden} = this.store.state;
    this.store.set({hidden: on ? hidden.filter(other => other !== index) : [...hidden, index].sort((a, b) => a - b)});
  }

  toSvg() {
    const lines = this.present.map(({name, index, share, before, iou}) => ({
      name, share, colour: cssColour(classColour(this.run.header.model, index)),
      text: [percent(share), before === null ? '' : `(${percent(before)})`, iou === null ? '' : `IoU ${percent(iou)}`]
        .filter(Boolean).join('  '),
    }));
    return barFigure(`Classes, ${sourceOf(this.run.header)}`, lines, 120);
  }

  toRows() {
    return [['class', 'share', 'share undisturbed', 'IoU'],
      ...this.rows.map(row => [row.name, row.share, row.before, Number.isFinite(row.iou ?? NaN) ? row.iou : null])];
  }
}
