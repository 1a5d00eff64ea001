// Keys that work anywhere on the page, and the list of all keys.
import {pin, unpin} from './cursor.js';
import {byId, element} from './elements.js';
import {cursorOf, queriesOf} from './state.js';

const LIST = [
  ['Arrows', 'on the picture: walk the patches; on the strip: move through the layers'],
  ['Enter', 'on the picture: pin the patch, or take its pin away'],
  ['[  ]', 'previous and next layer; the wheel over the strip does the same'],
  ['P', 'go to the picture'],
  ['L', 'go to the layer strip'],
  ['C', 'compare two patches'],
  ['Esc', 'take the pins away, put the brush down'],
  ['H', 'heads: mean, each, one after the other'],
  ['O', 'next overlay'],
  ['E', 'erase patches: the brush, then Enter on the picture'],
  ['U', 'undisturbed again'],
  ['T', 'next theme'],
  ['?', 'this list'],
];

function isTyping(target) {
  return target.closest?.('input, select, textarea, dialog') !== null;
}

export function startKeys(store, actions) {
  const dialog = byId('key-help');
  dialog.querySelector('dl').append(...LIST.flatMap(([keys, text]) => [element('dt', {}, element('kbd',
    {textContent: keys})), element('dd', {textContent: text})]));
  byId('keys').onclick = () => dialog.showModal();
  const focus = selector => document.querySelector(selector)?.focus();
  const global = {
    '[': () => actions.step(-1),
    ']': () => actions.step(1),
    'p': () => focus('.stage'),
    'l': () => focus('.strip'),
    'c': () => byId('compare').click(),
    'h': () => actions.nextHeads(),
    'o': () => actions.nextOverlay(),
    'e': () => actions.brush(),
    'u': () => actions.reset(),
    't': () => actions.nextTheme(),
    '?': () => dialog.showModal(),
    'Escape': () => {
      unpin(store);
      store.set({brushing: false});
    },
  };
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) {
      return;
    }
    if (event.key === 'Enter' && event.target.closest('.stage')) {
      event.preventDefault();
      actions.enter(cursorOf(store.state));
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    global[key]?.();
  });
}

// Pins what is looked at, or takes its pin away.
export function pinCursor(store, place) {
  const {pins, compare, hover} = store.state;
  if (pins.length && !(compare && hover)) {
    store.set({pins: pins.slice(0, -1), compare: compare && pins.length > 1, hover: pins.at(-1)});
  } else {
    pin(store, place ?? queriesOf(store.state)[0]);
  }
}
