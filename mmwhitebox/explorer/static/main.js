// The page: what is shown (the store), where it comes from (the source), and who draws it (the panels).
import {fromHash, hideToken, isKept, writeAddress} from './address.js';
import {byId, element, fillOptions} from './elements.js';
import {cellOf} from './maps.js';
import {describeAll, takenBy} from './disturbances.js';
import {EmbeddedSource} from './embedded_source.js';
import {announce, hideError, showError, showProgress} from './messages.js';
import {pinCursor, startKeys} from './keyboard.js';
import {OVERLAYS} from './overlay.js';
import {layerNumbered, Panel} from './panel.js';
import {Pictures} from './pictures.js';
import {ModelRuns} from './runs.js';
import {safeName, savePage} from './save.js';
import {ServedSource} from './served_source.js';
import {initialState, queriesOf, Store} from './state.js';
import {nextTheme, startTheme} from './theme.js';
import {Toolbar} from './toolbar.js';
import {WhatIf} from './what_if.js';

const ASK_AGAIN = 700;
const SHOWN_AT_FIRST = 3;

class Explorer {
  constructor(source) {
    this.source = source;
    this.store = new Store(initialState());
    this.panels = new Map();
    this.models = [];
    this.pictures = new Pictures(source, this.store);
    this.toolbar = new Toolbar(this.store, (run, delta) => this.step(run, delta));
    this.whatIf = new WhatIf(this.store);
    byId('what-if').hidden = Boolean(source.stored);
    byId('export').hidden = Boolean(source.stored);
    byId('toolbar').hidden = true;
    byId('export').onclick = () => this.save();
    startTheme(byId('theme'));
    startKeys(this.store, this.actions());
    this.store.subscribe((state, changed) => this.update(state, changed));
    window.addEventListener('hashchange', () => this.takeAddress());
  }

  async start() {
    hideToken();
    showProgress('models', 'The models are loaded');
    const [models] = await Promise.all([this.source.models(), this.pictures.load()]);
    this.store.set(fromHash(location.hash));
    this.showModels(models);
    while (this.models.some(model => model.ready === 'loading')) {
      await new Promise(resolve => setTimeout(resolve, ASK_AGAIN));
      this.showModels(await this.source.models());
    }
    showProgress('models', null);
    await this.pictures.load();
    this.choosePicture();
  }

  get ready() {
    return this.models.filter(model => model.ready === true);
  }

  showModels(models) {
    this.models = models;
    const failed = models.find(model => model.ready === 'failed');
    if (failed) {
      showError(`${failed.name}: ${failed.message}`);
    }
    const known = new Set(this.ready.map(model => model.id));
    const chosen = this.store.state.models.filter(id => known.has(id));
    this.store.set({models: chosen.length ? chosen : [...known].slice(0, SHOWN_AT_FIRST)});
    this.showChoice();
    this.choosePicture();
    this.update(this.store.state, new Set(['models']));
  }

  showChoice() {
    const box = byId('models');
    box.replaceChildren(...this.models.map(model => {
      const button = element('button', {type: 'button', textContent: model.ready === 'loading'
        ? `${model.name} …` : model.name, disabled: model.ready !== true});
      button.dataset.model = model.id;
      button.onclick = () => this.toggleModel(model.id);
      return button;
    }));
    box.hidden = this.models.length < 2;
  }

  toggleModel(id) {
    const {models} = this.store.state;
    const wanted = models.includes(id) ? models.filter(other => other !== id) : [...models, id];
    if (wanted.length) {
      this.store.set({models: this.ready.map(model => model.id).filter(other => wanted.includes(other))});
    }
  }

  choosePicture() {
    const {image} = this.store.state;
    if (image !== null && !this.pictures.has(image) && this.pictures.images.length) {
      showError('The picture of this address is no longer here: the first one is shown.');
    }
    if (!this.pictures.has(image)) {
      this.store.set({image: this.pictures.images[0]?.id ?? null});
    }
  }

  takeAddress() {
    const {image: old, ...rest} = initialState();
    this.store.set({...rest, image: this.store.state.image, models: this.ready.map(model => model.id).slice(0, SHOWN_AT_FIRST),
      ...fromHash(location.hash)});
    this.choosePicture();
  }

  // The panel that leads: its layers and tokens are those of the controls.
  get lead() {
    return this.store.state.models.map(id => this.panels.get(id)?.panel).find(panel => panel?.run);
  }

  step(run, delta) {
    const header = (run ?? this.lead?.base)?.header;
    if (!header?.layers.length) {
      return false;
    }
    const {layers} = header;
    const index = layers.indexOf(layerNumbered(header, this.store.state.layer));
    const next = layers[Math.max(0, Math.min(layers.length - 1, index + delta))];
    const moved = next !== layers[index];
    this.store.set({layer: next.number});
    return moved;
  }

  update(state, changed) {
    if (changed.has('models') || changed.has('image') || changed.has('whatIf')) {
      this.placePanels(state);
      this.want(state);
    }
    if (changed.has('image')) {
      hideError();
      this.pictures.update(state);
    }
    for (const id of state.models) {
      this.panels.get(id)?.panel.update(state);
    }
    this.updateControls(state);
    if ([...changed].some(isKept)) {
      writeAddress(state, initialState());
    }
    this.tell(state, changed);
  }

  placePanels(state) {
    for (const id of state.models) {
      if (!this.panels.has(id)) {
        this.addPanel(this.models.find(model => model.id === id));
      }
    }
    const shown = state.models.map(id => this.panels.get(id).panel.element);
    const box = byId('panels');
    if (shown.length !== box.children.length || shown.some((one, i) => box.children[i] !== one)) {
      box.replaceChildren(...shown);
    }
    for (const button of byId('models').children) {
      button.setAttribute('aria-pressed', String(state.models.includes(button.dataset.model)));
    }
  }

  addPanel(model) {
    const panel = new Panel(model, this.store, (run, place) => this.whatIf.paint(run, place),
      (run, delta) => this.step(run, delta));
    const runs = new ModelRuns(this.source, model, (base, run) => {
      panel.show(base, run);
      this.updateControls(this.store.state);
      this.dropUnknown(this.store.state);
    }, (error, known) => {
      showError(`${model.name}: ${error.message}`);
      if (!known) {
        panel.clear(error.message);
        this.updateControls(this.store.state);
      }
    });
    this.panels.set(model.id, {panel, runs});
  }

  // Takes away disturbances, of an address, that no model has that has been looked at, and says so.
  dropUnknown({models, whatIf}) {
    const headers = [...this.panels.values()].flatMap(({panel}) => panel.header ?? []);
    if (this.source.stored || !models.every(id => this.panels.get(id).panel.header)) {
      return;
    }
    const unknown = whatIf.filter(item => item.kind !== 'erase'
      && !headers.some(header => takenBy([item], header).length));
    if (unknown.length) {
      this.store.set({whatIf: whatIf.filter(item => !unknown.includes(item))});
      showError(`No model here has this, it is left out: ${describeAll(unknown)}.`);
    }
  }

  want(state) {
    if (state.image !== null) {
      state.models.forEach(id => this.panels.get(id).runs.want(state.image, state.whatIf));
    }
  }

  updateControls(state) {
    const header = this.lead?.base.header;
    byId('toolbar').hidden = !header?.layers.length;
    byId('what-if').hidden = Boolean(this.source.stored) || !header?.layers.length;
    byId('export').disabled = !header;
    if (header?.layers.length) {
      const layer = layerNumbered(header, state.layer);
      this.toolbar.update(header, layer, state);
      this.whatIf.update(layer, state);
    }
    if (this.source.stored && state.image !== null) {
      this.updateStored(state);
    }
  }

  // What an exported page holds of disturbances.
  updateStored(state) {
    const stored = this.source.stored(state.image);
    byId('stored').hidden = stored.length < 2;
    fillOptions(byId('stored-choice'), stored.map((items, i) => [String(i), items.length ? describeAll(items)
      : 'undisturbed']));
    const chosen = stored.findIndex(items => JSON.stringify(items) === JSON.stringify(state.whatIf));
    byId('stored-choice').value = String(Math.max(0, chosen));
    byId('stored-choice').onchange = () => this.store.set({whatIf: stored[Number(byId('stored-choice').value)]});
  }

  tell(state, changed) {
    const panel = this.lead;
    if (!panel || !['hover', 'pins', 'layer', 'whatIf'].some(key => changed.has(key))) {
      return;
    }
    const [query] = queriesOf(state);
    const {row, column} = query.token === undefined ? cellOf(panel.header, query) : {};
    const where = query.token ?? `patch row ${row}, column ${column}`;
    const top = panel.probabilities.top?.[0];
    const answer = top === undefined ? '' : `, ${panel.run.header.model.classes[top]} `
      + `${Math.round(100 * panel.probabilities.values[top])} percent`;
    announce(`Layer ${panel.layer?.number}, ${where}${answer}`);
  }

  actions() {
    const {store} = this;
    const after = (list, value) => list[(list.indexOf(value) + 1) % list.length];
    return {
      step: delta => this.step(null, delta),
      enter: place => {
        if (!this.lead || !this.whatIf.paint(this.lead.run, place)) {
          pinCursor(store, place);
        }
      },
      nextHeads: () => {
        const most = Math.max(0, ...this.lead?.header.layers.map(layer => layer.heads) ?? []);
        store.set({heads: after(['mean', 'all', ...Array(most).keys()], store.state.heads)});
      },
      nextOverlay: () => {
        const offered = OVERLAYS.filter(overlay => this.lead && overlay.applies(this.lead.context));
        store.set({overlay: after(offered.map(overlay => overlay.id), this.lead?.picture.shown)});
      },
      brush: () => this.source.stored || store.set({brushing: !store.state.brushing}),
      reset: () => store.set({whatIf: [], brushing: false}),
      nextTheme: () => nextTheme(byId('theme')),
    };
  }

  // The shown runs as a page of one file.
  async save() {
    const {models, image} = this.store.state;
    const shown = models.map(id => [id, this.panels.get(id).panel]).filter(([, panel]) => panel.run);
    const runs = shown.flatMap(([model, {base, run}]) => [{model, image, what_if: []},
      ...(run === base ? [] : [{model, image, what_if: run.header.what_if}])]);
    hideError();
    showProgress('export', 'The page is written');
    try {
      const {name} = shown[0][1].header.image;
      savePage(await this.source.page(runs), safeName('explorer', name));
    } catch (error) {
      showError(error.message);
    } finally {
      showProgress('export', null);
    }
  }
}

async function startPage() {
  const embedded = new EmbeddedSource();
  try {
    await new Explorer(embedded.isEmpty ? new ServedSource() : embedded).start();
  } catch (error) {
    showProgress('models', null);
    showError(error.message);
  }
}

startPage();
