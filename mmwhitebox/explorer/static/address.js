// The state of the page in its address, behind the #: what is linked to is what was seen.
import {isCount, isDisturbance} from './disturbances.js';

const WRITE_AFTER = 250;
const isShare = value => Number.isFinite(value) && value >= 0 && value <= 1;
const isText = value => typeof value === 'string';
const isPlace = pin => typeof pin === 'object' && pin !== null
  && (isText(pin.token) || (isShare(pin.x) && isShare(pin.y)));
const oneOf = (...values) => value => values.includes(value);
const listOf = check => value => Array.isArray(value) && value.every(check);

// What is kept, under which name, and what it may be.
const KEPT = {
  image: isText,
  models: listOf(isText),
  layer: isCount,
  pins: value => listOf(isPlace)(value) && value.length <= 2,
  compare: value => typeof value === 'boolean',
  heads: value => value === 'mean' || value === 'all' || isCount(value),
  scale: oneOf('own', 'shared'),
  backdrop: isShare,
  strip: isText,
  overlay: isText,
  opacity: isShare,
  hidden: listOf(isCount),
  whatIf: listOf(isDisturbance),
};
let addressTimer = null;

export function isKept(key) {
  return key in KEPT;
}

function toHash(state, initial) {
  const parts = new URLSearchParams();
  for (const key of Object.keys(KEPT)) {
    const value = JSON.stringify(state[key]);
    if (value !== JSON.stringify(initial[key])) {
      parts.set(key, value);
    }
  }
  return `#${parts}`;
}

// The parts of a state that an address holds; what is not understood is left out.
export function fromHash(hash) {
  const found = {};
  for (const [key, text] of new URLSearchParams(hash.replace(/^#/, ''))) {
    try {
      const value = JSON.parse(text);
      if (KEPT[key]?.(value)) {
        found[key] = value;
      }
    } catch {
      continue;
    }
  }
  return found;
}

export function writeAddress(state, initial) {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => {
    try {
      history.replaceState(null, '', toHash(state, initial));
    } catch {
      // A page inside a notebook has no address of its own.
    }
  }, WRITE_AFTER);
}

// The token of the server does its work once; it does not stay in the address.
export function hideToken() {
  const address = new URL(location.href);
  if (address.searchParams.has('token')) {
    address.searchParams.delete('token');
    history.replaceState(null, '', address);
  }
}
