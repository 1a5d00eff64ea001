// The controls that disturb the current layer and erase patches.
import {cellOf} from './maps.js';
import {describe, describeAll, erasedOf} from './disturbances.js';
import {element} from './table.js';

const SEED = 0;
const find = id => document.getElementById(id);

export class WhatIf {
  constructor(store) {
    this.store = store;
    find('noise').oninput = () => this.setNoise(Number(find('noise').value));
    find('skip').onchange = () => this.toggle({kind: 'skip', layer: this.layer.number}, find('skip').checked);
    find('contraction').onchange = () => this.setContraction();
    find('contraction-all').onchange = () => this.setContraction();
    find('brush').onclick = () => store.set({brushing: !store.state.brushing});
    find('restore').onclick = () => this.replace(item => item.kind === 'erase', null);
    find('what-if-open').onclick = () => this.open(find('what-if-controls').hidden);
    this.open(!window.matchMedia('(max-width: 40rem)').matches);
    find('reset').onclick = () => store.set({whatIf: [], brushing: false});
  }

  open(isOpen) {
    find('what-if-controls').hidden = !isOpen;
    find('what-if-open').setAttribute('aria-expanded', String(isOpen));
  }

  get items() {
    return this.store.state.whatIf;
  }

  replace(isOld, item) {
    const kept = this.items.filter(other => !isOld(other));
    this.store.set({whatIf: item ? [...kept, item] : kept});
  }

  toggle(item, on) {
    this.replace(other => describe(other) === describe(item), on ? item : null);
  }

  setNoise(scale) {
    const {number} = this.layer;
    this.replace(item => item.kind === 'noise' && item.layer === number,
      scale ? {kind: 'noise', layer: number, scale, seed: SEED} : null);
  }

  setContraction() {
    const chosen = find('contraction').value;
    const layer = find('contraction-all').checked ? null : this.layer.number;
    this.replace(item => item.kind === 'contraction' && (layer === null || item.layer === null || item.layer === layer),
      chosen === 'trained' ? null : {kind: 'contraction', layer, value: chosen === 'none' ? null : chosen});
  }

  // Erases the patches under the brush; false if the brush is not out.
  paint(run, place) {
    if (!this.store.state.brushing) {
      return false;
    }
    const {grid} = run.header;
    const old = erasedOf(this.items);
    const patches = new Set(old && String(old.grid) === String(grid) ? old.patches : []);
    const {row, column} = cellOf(run.header, place);
    const reach = Math.floor(Number(find('brush-size').value) / 2);
    const before = patches.size;
    for (let r = Math.max(0, row - reach); r <= Math.min(grid[0] - 1, row + reach); r++) {
      for (let c = Math.max(0, column - reach); c <= Math.min(grid[1] - 1, column + reach); c++) {
        patches.add(r * grid[1] + c);
      }
    }
    if (patches.size !== before) {
      this.replace(item => item.kind === 'erase', {kind: 'erase', grid, patches: [...patches].sort((a, b) => a - b)});
    }
    return true;
  }

  // `layer`: the current one of the first model, undisturbed.
  update(layer, state) {
    this.layer = layer;
    const has = kind => layer.what_if.includes(kind);
    for (const label of document.querySelectorAll('.layer-name')) {
      label.textContent = `layer ${layer.number}`;
    }
    const noise = state.whatIf.find(item => item.kind === 'noise' && item.layer === layer.number)?.scale ?? 0;
    find('noise').value = noise;
    find('noise-value').textContent = noise.toFixed(2);
    find('skip').checked = state.whatIf.some(item => item.kind === 'skip' && item.layer === layer.number);
    find('noise-field').hidden = !has('noise');
    find('skip-field').hidden = !has('skip');
    find('contraction-field').hidden = !has('contraction');
    find('heads-off-field').hidden = !has('head');
    const contraction = state.whatIf.find(item => item.kind === 'contraction'
      && (item.layer === null || item.layer === layer.number));
    find('contraction').value = contraction ? contraction.value ?? 'none' : 'trained';
    if (contraction) {
      find('contraction-all').checked = contraction.layer === null;
    }
    this.showHeads(layer, state);
    const brushing = Boolean(state.brushing);
    find('brush').setAttribute('aria-pressed', String(brushing));
    find('restore').hidden = !erasedOf(state.whatIf);
    find('reset').hidden = !state.whatIf.length && !brushing;
    find('what-if-state').textContent = state.whatIf.length ? '' : describeAll([]);
    this.showChips(state);
  }

  showHeads(layer, state) {
    const key = `${layer.number}/${layer.heads}`;
    const box = find('heads-off');
    if (this.headsOf !== key) {
      this.headsOf = key;
      box.replaceChildren(...Array.from({length: layer.heads}, (_, head) => {
        const button = element('button', {type: 'button', textContent: String(head)});
        button.setAttribute('aria-label', `Head ${head} off`);
        button.onclick = () => this.toggle({kind: 'head', layer: layer.number, head},
          button.getAttribute('aria-pressed') !== 'true');
        return button;
      }));
    }
    Array.from(box.children).forEach((button, head) => button.setAttribute('aria-pressed',
      String(state.whatIf.some(item => item.kind === 'head' && item.layer === layer.number && item.head === head))));
  }

  showChips(state) {
    find('disturbances').replaceChildren(...state.whatIf.map(item => {
      const button = element('button', {type: 'button', textContent: `${describe(item)} ×`});
      button.setAttribute('aria-label', `Take away: ${describe(item)}`);
      button.onclick = () => this.replace(other => other === item, null);
      return element('li', {}, button);
    }));
  }
}
