// The layer strip: one kind of map in every layer, the current layer marked; arrows and the wheel move through it.
import {element, fillOptions} from './elements.js';
import {MAP_KINDS, mapKind} from './map_kinds.js';
import {queriesOf} from './state.js';
import {scaleTiles, TileFigure} from './tile_figure.js';

export class Strip extends TileFigure {
  constructor(name, store, step) {
    super('strip', name, store);
    this.savedAcross = 12;
    this.choice = element('select');
    this.choice.setAttribute('aria-label', 'Map shown in every layer');
    this.choice.onchange = () => store.set({strip: this.choice.value});
    this.element.querySelector('.tools').before(this.choice);
    this.grid.classList.add('strip');
    Object.assign(this.grid, {tabIndex: 0, role: 'slider'});
    this.grid.setAttribute('aria-label', 'Layer');
    this.grid.addEventListener('keydown', event => {
      const moves = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -Infinity, End: Infinity};
      if (event.key in moves && !event.altKey && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        step(this.run, moves[event.key]);
      }
    });
    this.grid.addEventListener('wheel', event => {
      if (!event.ctrlKey && step(this.run, Math.sign(event.deltaY || event.deltaX))) {
        event.preventDefault();
      }
    }, {passive: false});
  }

  attach(view) {
    view.element.addEventListener('click', () => this.store.set({layer: this.layers[this.views.indexOf(view)].number}));
  }

  update(run, layer, state) {
    const {layers} = run.header;
    this.layers = layers;
    const offered = MAP_KINDS.filter(kind => !kind.mosaic && layers.some(kind.applies));
    const kind = offered.find(other => other.id === state.strip) ?? commonest(offered, layers);
    fillOptions(this.choice, offered.map(other => [other.id, other.name]));
    this.setTitle('Through the layers', 'One map in every layer, for the same query; each has its own colour scale. '
      + 'Click a layer, turn the wheel over the strip, or use the arrow keys to move to it.');
    this.element.hidden = !kind;
    if (!kind) {
      return;
    }
    this.choice.value = kind.id;
    const [query] = queriesOf(state);
    const cells = run.header.grid[0] * run.header.grid[1];
    const heads = Number.isInteger(state.heads) ? state.heads : 'mean';
    const tiles = layers.map(other => {
      const label = `${other.number} ${other.attention}`;
      const found = kind.applies(other) ? kind.tiles({run, layer: other, query, heads}) : '';
      if (typeof found === 'string') {
        return {label, values: new Float32Array(cells), colours: 'cividis', low: 0, high: 1, absent: true};
      }
      const tile = {...found[0], label};
      scaleTiles(kind, [tile], other, 'own');
      return tile;
    });
    const legend = barOf(kind, layers.filter(kind.applies));
    this.show(tiles, run, state, legend);
    tiles.forEach((tile, i) => {
      this.views[i].element.classList.toggle('current', layers[i] === layer);
      this.views[i].element.classList.toggle('absent', Boolean(tile.absent));
    });
    this.grid.setAttribute('aria-valuemin', layers[0].number);
    this.grid.setAttribute('aria-valuemax', layers.at(-1).number);
    this.grid.setAttribute('aria-valuenow', layer.number);
    this.grid.setAttribute('aria-valuetext', `layer ${layer.number}, ${layer.attention}, ${layer.part}`);
  }

  captionOf(tile) {
    return tile.label.split(' ')[0];
  }

  savedTitle() {
    return `${mapKind(this.choice.value).name} through the layers`;
  }
}

// The first kind that patches have in most of the layers.
function commonest(offered, layers) {
  const has = (kind, layer) => kind.applies(layer) && (kind.id !== 'attention' || !layer.maps.attention.queries);
  return ['attention', 'assignment', 'similarity', 'pca'].map(id => offered.find(kind => kind.id === id))
    .find(kind => kind && layers.filter(layer => has(kind, layer)).length * 2 > layers.length) ?? offered[0];
}

// `layers`: those that have such a map; not all of them need have the same unit.
function barOf(kind, layers) {
  const unit = [...new Set(layers.map(kind.unit))].join(' or ');
  return {colours: kind.colours, unit, low: kind.fromZero ? '0' : 'min', high: 'max of each',
    count: Math.max(...layers.map(layer => layer.heads))};
}
