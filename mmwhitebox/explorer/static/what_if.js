// The controls that disturb the current layer and erase patches.
import {byId, element} from './elements.js';
import {cellOf} from './maps.js';
import {describe, describeAll, erasedOf} from './disturbances.js';

const SEED = 0;

export class WhatIf {
  constructor(store) {
    this.store = store;
    byId('noise').oninput = () => this.setNoise(Number(byId('noise').value));
    byId('skip').onchange = () => this.toggle({kind: 'skip', layer: this.layer.number}, byId('skip').checked);
    byId('contraction').onchange = () => this.setContraction();
    byId('contraction-all').onchange = () => this.setContraction();
    byId('brush').onclick = () => store.set({brushing: !store.state.brushing});
    byId('restore').onclick = () => this.replace(item => item.kind === 'erase', null);
    byId('what-if-open').onclick = () => this.open(byId('what-if-controls').hidden);
    this.open(!window.matchMedia('(max-width: 40rem)').matches);
    byId('reset').onclick = () => store.set({whatIf: [], brushing: false});
  }

  open(isOpen) {
    byId('what-if-controls').hidden = !isOpen;
    byId('what-if-open').setAttribute('aria-expanded', String(isOpen));
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
    const chosen = byId('contraction').value;
    const layer = byId('contraction-all').checked ? null : this.layer.number;
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
    const reach = Math.floor(Number(byId('brush-size').value) / 2);
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
    byId('noise').value = noise;
    byId('noise-value').textContent = noise.toFixed(2);
    byId('skip').checked = state.whatIf.some(item => item.kind === 'skip' && item.layer === layer.number);
    byId('noise-field').hidden = !has('noise');
    byId('skip-field').hidden = !has('skip');
    byId('contraction-field').hidden = !has('contraction');
    byId('heads-off-field').hidden = !has('head');
    const contraction = state.whatIf.find(item => item.kind === 'contraction'
      && (item.layer === null || item.layer === layer.number));
    byId('contraction').value = contraction ? contraction.value ?? 'none' : 'trained';
    if (contraction) {
      byId('contraction-all').checked = contraction.layer === null;
    }
    this.showHeads(layer, state);
    const brushing = Boolean(state.brushing);
    byId('brush').setAttribute('aria-pressed', String(brushing));
    byId('restore').hidden = !erasedOf(state.whatIf);
    byId('reset').hidden = !state.whatIf.length && !brushing;
    byId('what-if-state').textContent = state.whatIf.length ? '' : describeAll([]);
    this.showChips(state);
  }

  showHeads(layer, state) {
    const key = `${layer.number}/${layer.heads}`;
    const box = byId('heads-off');
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
    byId('disturbances').replaceChildren(...state.whatIf.map(item => {
      const button = element('button', {type: 'button', textContent: `${describe(item)} ×`});
      button.setAttribute('aria-label', `Take away: ${describe(item)}`);
      button.onclick = () => this.replace(other => other === item, null);
      return element('li', {}, button);
    }));
  }
}
