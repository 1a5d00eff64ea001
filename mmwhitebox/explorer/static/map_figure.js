// The figure of one kind of map in the current layer, for one query or for two side by side.
import {queryText} from './maps.js';
import {queriesOf} from './state.js';
import {scaleTiles, TileFigure} from './tile_figure.js';

export class MapFigure extends TileFigure {
  constructor(kind, name, store) {
    super(kind.id, name, store);
    this.kind = kind;
  }

  attach(view) {
    if (!this.kind.mosaic) {
      super.attach(view);
    }
  }

  update(run, layer, state) {
    const applies = this.kind.applies(layer);
    this.element.hidden = !applies;
    if (!applies) {
      return;
    }
    this.layer = layer;
    this.setTitle(this.kind.title(layer), this.kind.how(layer));
    const queries = this.kind.perQuery ? queriesOf(state) : queriesOf(state).slice(0, 1);
    const answers = queries.map(query => this.kind.tiles({run, layer, query, heads: state.heads}));
    const reason = answers.find(answer => typeof answer === 'string');
    if (reason) {
      this.show(reason, run, state, null);
      return;
    }
    const tiles = answers.flatMap((answer, i) => queries.length === 1 ? answer
      : answer.map(tile => ({...tile, label: ['AB'[i], tile.label].filter(Boolean).join(' · ')})));
    this.show(tiles, run, state, scaleTiles(this.kind, tiles, layer, state.scale));
  }

  savedTitle() {
    const queries = this.kind.perQuery ? queriesOf(this.state).map(query => queryText(this.run.header, query)) : [];
    const names = queries.length > 1 ? queries.map((text, i) => `${'AB'[i]}: ${text}`) : queries;
    return [this.heading.textContent, `layer ${this.layer.number} (${this.layer.attention})`, ...names].join(', ');
  }
}
