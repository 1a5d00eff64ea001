// The controls of what is shown: layer, query, heads, scale.
import {cellOf} from './maps.js';
import {unpin} from './cursor.js';
import {queriesOf} from './state.js';

const find = id => document.getElementById(id);

export class Toolbar {
  constructor(store, step) {
    this.store = store;
    find('layer').onchange = () => store.set({layer: Number(find('layer').value)});
    find('previous-layer').onclick = () => step(null, -1);
    find('next-layer').onclick = () => step(null, 1);
    find('query').onchange = () => this.choose(find('query').value);
    find('compare').onclick = () => this.toggleCompare();
    find('unpin').onclick = () => unpin(store);
    find('heads').onchange = () => this.setHeads(find('heads').value);
    find('scale').onchange = () => store.set({scale: find('scale').value});
    find('backdrop').oninput = () => store.set({backdrop: Number(find('backdrop').value)});
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
    fillOptions(find('layer'), header.layers.map(one => [String(one.number),
      `${one.number}  ${one.attention} (${one.part})`]));
    find('layer').value = String(layer.number);
    find('previous-layer').disabled = layer === header.layers[0];
    find('next-layer').disabled = layer === header.layers.at(-1);
    const tokens = [...new Set(header.layers.flatMap(one => one.extra))];
    const query = queriesOf(state)[0];
    fillOptions(find('query'), [['patch', 'patch'], ...tokens.map(name => [`token:${name}`, name])]);
    find('query').value = query.token === undefined ? 'patch' : `token:${query.token}`;
    find('query').options[0].textContent = patchText(header, query);
    find('compare').setAttribute('aria-pressed', String(state.compare));
    find('unpin').hidden = !state.pins.length;
    const most = Math.max(...header.layers.map(one => one.heads));
    fillOptions(find('heads'), [['mean', 'mean'], ['all', 'each'], ...Array.from({length: most}, (_, k) =>
      [String(k), `head ${k}`])]);
    find('heads').value = String(state.heads);
    find('scale').value = state.scale;
    find('backdrop').value = state.backdrop;
  }
}

function patchText(header, query) {
  if (query.token !== undefined) {
    return 'patch under the cursor';
  }
  const {row, column} = cellOf(header, query);
  return `patch (${row}, ${column})`;
}

export function fillOptions(select, options) {
  const key = options.join('\n');
  if (select.filledWith !== key) {
    select.filledWith = key;
    select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  }
}
