// Disturbances of a model: what each is called, and which of them a model takes.
const KINDS = ['noise', 'head', 'skip', 'contraction', 'erase'];

export function describe(item) {
  const where = item.layer === null ? 'all layers' : `layer ${item.layer}`;
  switch (item.kind) {
    case 'noise': return `noise ${item.scale} on ${where}`;
    case 'head': return `head ${item.head} of ${where} off`;
    case 'skip': return `${where} skipped`;
    case 'contraction': return `contraction of ${where}: ${item.value ?? 'none'}`;
    default: return `${item.patches.length} ${item.patches.length === 1 ? 'patch' : 'patches'} erased`;
  }
}

export function describeAll(items) {
  return items.length ? items.map(describe).join(', ') : 'nothing is disturbed';
}

// What a saved figure is of: model, picture, and what was disturbed.
export function sourceOf({model, image, what_if: items}) {
  return [model.name, image.name, items.length ? `disturbed: ${describeAll(items)}` : ''].filter(Boolean).join(', ');
}

function takes(layer, item) {
  return Boolean(layer?.what_if.includes(item.kind)) && (item.kind !== 'head' || item.head < layer.heads);
}

// Patches of one grid that lie under erased patches of another.
function onGrid({grid: [rows, columns], patches}, [toRows, toColumns]) {
  const erased = new Set(patches);
  const found = [];
  for (let row = 0; row < toRows; row++) {
    for (let column = 0; column < toColumns; column++) {
      const from = Math.floor((row + 0.5) * rows / toRows) * columns + Math.floor((column + 0.5) * columns / toColumns);
      if (erased.has(from)) {
        found.push(row * toColumns + column);
      }
    }
  }
  return found;
}

// The disturbances that a model takes, as the server wants them. `header` is that of an undisturbed run.
export function takenBy(items, header) {
  return items.flatMap(item => {
    if (item.kind === 'erase') {
      const patches = onGrid(item, header.grid);
      return patches.length ? [{kind: 'erase', patches}] : [];
    }
    const taken = item.layer === null ? header.layers.some(layer => takes(layer, item))
      : takes(header.layers.find(layer => layer.number === item.layer), item);
    return taken ? [item] : [];
  });
}

export function erasedOf(items) {
  return items.find(item => item.kind === 'erase') ?? null;
}

export function isCount(value) {
  return Number.isInteger(value) && value >= 0;
}

// Whether something from an address is a disturbance.
export function isDisturbance(item) {
  if (typeof item !== 'object' || item === null || !KINDS.includes(item.kind)) {
    return false;
  }
  if (item.kind === 'erase') {
    return Array.isArray(item.grid) && item.grid.length === 2 && item.grid.every(isCount)
      && Array.isArray(item.patches) && item.patches.every(isCount);
  }
  const layer = isCount(item.layer) || (item.kind === 'contraction' && item.layer === null);
  return layer && (item.kind !== 'noise' || (Number.isFinite(item.scale) && isCount(item.seed)))
    && (item.kind !== 'head' || isCount(item.head))
    && (item.kind !== 'contraction' || ['softmax', 'inverse', null].includes(item.value));
}
