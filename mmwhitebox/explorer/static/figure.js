// The frame of a figure: title, how to read it, what saves it.
import {fromTemplate} from './elements.js';
import {saveCsv, savePng, saveSvg} from './save.js';

let figures = 0;

export class Figure {
  // `name()` gives the name of saved files.
  constructor(id, name) {
    this.element = fromTemplate('figure-template');
    this.element.dataset.figure = id;
    const find = selector => this.element.querySelector(selector);
    [this.heading, this.how, this.body, this.readout] = ['h3', '.how', '.body', '.readout'].map(find);
    this.ask = find('.ask');
    this.how.id = `how-${figures++}`;
    this.ask.setAttribute('aria-controls', this.how.id);
    this.ask.onclick = () => this.toggleHow();
    find('.png').onclick = () => savePng(this.toSvg(), name());
    find('.svg').onclick = () => saveSvg(this.toSvg(), name());
    find('.csv').onclick = () => saveCsv(this.toRows(), name());
  }

  setTitle(title, how) {
    if (this.heading.textContent === title && this.how.textContent === how) {
      return;
    }
    this.heading.textContent = title;
    this.how.textContent = how;
    this.element.setAttribute('aria-label', title);
    this.ask.setAttribute('aria-label', `How to read: ${title}`);
    for (const kind of ['png', 'svg', 'csv']) {
      this.element.querySelector(`.${kind}`).setAttribute('aria-label', `Save as ${kind.toUpperCase()}: ${title}`);
    }
  }

  toggleHow() {
    this.how.hidden = !this.how.hidden;
    this.ask.setAttribute('aria-expanded', String(!this.how.hidden));
  }
}
