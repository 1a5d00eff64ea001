// The controls of what is shown: layer, query, heads, scale.
import {byId, fillOptions} from './elements.js';
import {queryText} from './maps.js';
import {unpin} from './cursor.js';
import {queriesOf} from './state.js';

export class Toolbar {
  constructor(store, step) {
    this.store = store;
    byId('layer').onchange = () => store.set({layer: Number(byId('layer').value)});
    byId('previous-layer').onclick = () => step(null, -1);
    byId('next-layer').onclick = () => step(null, 1);
    byId('query').onchange = () => this.choose(byId('query').value);
    byId('compare').onclick = () => this.toggleCompare();
    byId('unpin').onclick = () => unpin(store);
    byId('heads').onchange = () => this.setHeads(byId('heads').value);
    byId('scale').onchange = () => store.set({scale: byId('scale').value});
    byId('backdrop').oninput = () => store.set({backdrop: Number(byId('backdrop').value)});
  }

  choose(value) {
    const token = value.slice('token:'.length);
    this.store.set({pins: value === 'patch' ? [] : [{token}], hover: null});
  }

  setHeads(value) {
    this.store.set({heads: ['mean', 'all'].includes(value) ? value : Number(value)});
  }

  // Comparing starts from what is looked at now.
  toggleCompare() {
    const {state} = this.store;
    const compare = !state.compare;
    const first = queriesOf(state)[0];
    this.store.set({compare, pins: compare && !state.pins.length ? [first] : state.pins.slice(0, 1)});
  }

  // `header`: of the first model's undisturbed run; `layer`: its current one.
  update(header, layer, state) {
    fillOptions(byId('layer'), header.layers.map(one => [String(one.number),
      `${one.number}  ${one.attention} (${one.part})`]));
    byId('layer').value = String(layer.number);
    byId('previous-layer').disabled = layer === header.layers[0];
    byId('next-layer').disabled = layer === header.layers.at(-1);
    const tokens = [...new Set(header.layers.flatMap(one => one.extra))];
    const query = queriesOf(state)[0];
    fillOptions(byId('query'), [['patch', 'patch'], ...tokens.map(name => [`token:${name}`, name])]);
    byId('query').value = query.token === undefined ? 'patch' : `token:${query.token}`;
    byId('query').options[0].textContent = query.token === undefined ? queryText(header, query)
      : 'patch under the cursor';
    byId('compare').setAttribute('aria-pressed', String(state.compare));
    byId('unpin').hidden = !state.pins.length;
    const most = Math.max(...header.layers.map(one => one.heads));
    fillOptions(byId('heads'), [['mean', 'mean'], ['all', 'each'], ...Array.from({length: most}, (_, k) =>
      [String(k), `head ${k}`])]);
    byId('heads').value = String(state.heads);
    byId('scale').value = state.scale;
    byId('backdrop').value = state.backdrop;
  }
}
