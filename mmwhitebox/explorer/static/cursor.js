// One cursor for all figures: whatever canvas the pointer is on, its place on the picture is what is looked at.
import {cellOf, placeOf} from './maps.js';
import {cursorOf} from './state.js';

function placeUnder(event, element) {
  const box = element.getBoundingClientRect();
  const share = (value, start, size) => Math.max(0, Math.min(0.999999, (value - start) / size));
  return {x: share(event.clientX, box.left, box.width), y: share(event.clientY, box.top, box.height)};
}

// `paint(place)` takes the pointer instead while it says so (the brush).
export function followPointer(element, store, paint = () => false) {
  element.addEventListener('pointermove', event => {
    const place = placeUnder(event, element);
    store.set({hover: place});
    if (event.buttons & 1) {
      paint(place);
    }
  });
  element.addEventListener('pointerleave', () => store.set({hover: null}));
  element.addEventListener('click', event => {
    const place = placeUnder(event, element);
    if (!paint(place)) {
      pin(store, place);
    }
  });
}

// Pins a place, or a second one beside it when two are compared; the same place again takes the pin away.
export function pin(store, place) {
  const {pins, compare} = store.state;
  const same = pins.findIndex(other => other.x === place.x && other.y === place.y && other.token === place.token);
  if (same >= 0) {
    store.set({pins: pins.filter((_, i) => i !== same)});
  } else {
    store.set({pins: compare && pins.length ? [pins[0], place] : [place]});
  }
}

export function unpin(store) {
  store.set({pins: [], compare: false, hover: null});
}

// Moves the cursor, or the last pin, by patches.
export function walk(store, header, down, across) {
  const {pins} = store.state;
  const {row, column} = cellOf(header, cursorOf(store.state));
  const [rows, columns] = header.grid;
  const place = placeOf(header, Math.max(0, Math.min(rows - 1, row + down)),
    Math.max(0, Math.min(columns - 1, column + across)));
  const last = pins.at(-1);
  if (last && last.x !== undefined) {
    store.set({pins: [...pins.slice(0, -1), place], hover: null});
  } else {
    store.set({hover: place});
  }
}
