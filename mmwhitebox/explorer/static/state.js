// What the page shows: one object; who draws is told once a frame which parts of it have changed.
const CENTRE = {x: 0.5, y: 0.5};

export class Store {
  constructor(initial) {
    this.state = initial;
    this.listeners = [];
    this.changed = new Set();
  }

  set(changes) {
    for (const [key, value] of Object.entries(changes)) {
      if (this.state[key] !== value) {
        this.state[key] = value;
        this.changed.add(key);
      }
    }
    if (this.changed.size && !this.scheduled) {
      this.scheduled = true;
      requestAnimationFrame(() => this.tell());
    }
  }

  tell() {
    const changed = this.changed;
    this.changed = new Set();
    this.scheduled = false;
    for (const listener of this.listeners) {
      listener(this.state, changed);
    }
  }

  subscribe(listener) {
    this.listeners.push(listener);
  }
}

export function initialState() {
  return {
    image: null, models: [], layer: 0, hover: null, pins: [], compare: false, heads: 'mean', scale: 'own',
    backdrop: 0.2, strip: 'auto', overlay: 'answer', opacity: 0.6, hidden: [], whatIf: [],
  };
}

// The queries that the maps answer: the first pin or the cursor and, comparing, a second one.
export function queriesOf({pins, hover, compare}) {
  const first = pins[0] ?? hover ?? CENTRE;
  const second = compare ? pins[1] ?? (pins.length ? hover : null) : null;
  return second ? [first, second] : [first];
}

// The place at which values are read.
export function cursorOf({pins, hover}) {
  return [hover, ...pins.toReversed()].find(place => place?.x !== undefined) ?? CENTRE;
}
