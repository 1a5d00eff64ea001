// The kinds of maps of a layer: what each is called, how to read it, and its maps for a query.
import {attentionRows, cellOf, footprints, hardAssignment, headMaps, headMean} from './maps.js';
import {mainRepresentative, rowsAt, similarity} from './maps.js';

const NO_TOKEN = 'This layer has no such token.';
const CLASSES_ONLY = 'In this layer the class tokens alone look at the patches: choose one as the query.';

// The maps of the chosen heads, out of (heads, cells).
function ofHeads(values, heads, choice) {
  const cells = values.length / heads;
  const head = k => ({label: `head ${k}`, values: values.subarray(k * cells, (k + 1) * cells)});
  if (choice === 'all') {
    return Array.from({length: heads}, (_, k) => head(k));
  }
  if (choice === 'mean' || choice >= heads) {
    return [{label: '', values: headMean(values, heads)}];
  }
  return [head(choice)];
}

// Maps of the subspaces themselves: each head is one, and their mean says nothing.
function ofSubspaces(kind) {
  return ({run, layer, heads}) => ofHeads(headMaps(run, layer, kind), layer.heads, heads === 'mean' ? 'all' : heads)
    .map(tile => ({...tile, label: tile.label.replace('head', 'subspace')}));
}

function singleHead(choice, heads) {
  return Number.isInteger(choice) && choice < heads ? choice : null;
}

export const MAP_KINDS = [
  {
    id: 'attention',
    name: 'attention',
    title: layer => layer.maps.attention.form === 'gram' ? 'Attention AᵀA' : 'Attention',
    how: layer => layer.maps.attention.form === 'gram'
      ? 'How far each patch shares representatives with the query: its row of AᵀA. Bright patches are gathered and '
        + 'broadcast together with it.'
      : 'Each patch shows how much the query takes from it: the row of the attention matrix. A row sums to one over '
        + 'all tokens.',
    unit: layer => layer.maps.attention.form === 'gram' ? 'AᵀA' : 'share',
    colours: 'viridis', fromZero: true, perQuery: true,
    applies: layer => Boolean(layer.maps.attention),
    tiles({run, layer, query, heads}) {
      const rows = attentionRows(run, layer, query);
      if (!rows) {
        return query.token === undefined ? CLASSES_ONLY : NO_TOKEN;
      }
      return ofHeads(rows, layer.heads, heads);
    },
  },
  {
    id: 'footprint',
    name: 'footprint',
    title: () => 'Footprint',
    how: () => 'Where the representative that takes most from the query gathers: one row of A over the patches, which '
      + 'sums to one over all tokens.',
    unit: () => 'share',
    colours: 'viridis', fromZero: true, perQuery: true,
    applies: layer => Boolean(layer.maps.representatives),
    tiles({run, layer, query, heads}) {
      if (query.token !== undefined) {
        return 'Choose a patch as the query to see the representative that takes most from it.';
      }
      const found = footprints(run, layer);
      const cells = found.values.length / (found.heads * found.count);
      const {row, column} = cellOf(run.header, query);
      const representative = mainRepresentative(found, row * run.header.grid[1] + column,
        singleHead(heads, found.heads));
      const rows = rowsAt(found.values, [found.heads, found.count, cells], representative);
      return ofHeads(rows, found.heads, heads).map(tile => ({...tile, label: [`no. ${representative}`, tile.label]
        .filter(Boolean).join(', ')}));
    },
  },
  {
    id: 'footprints',
    name: 'all footprints',
    title: () => 'All footprints',
    how: () => 'Every small picture is the whole picture as one representative gathers it. Pooled representatives lie '
      + 'where their cell of the pool lies; the outlined one takes most from the query.',
    unit: () => 'share',
    colours: 'viridis', fromZero: true, perQuery: false, mosaic: true,
    applies: layer => Boolean(layer.maps.representatives),
    tiles({run, layer, query, heads}) {
      const found = footprints(run, layer);
      const {row, column} = cellOf(run.header, query.token === undefined ? query : {x: 0.5, y: 0.5});
      const head = singleHead(heads, found.heads);
      const marked = query.token === undefined
        ? mainRepresentative(found, row * run.header.grid[1] + column, head) : null;
      return [{label: head === null ? '' : `head ${head}`, ...mosaicOf(run, layer, head), marked}];
    },
  },
  {
    id: 'membership',
    name: 'membership',
    title: () => 'Membership',
    how: () => 'The share Π of each patch in each subspace (head): bright patches belong to it. The shares of a patch '
      + 'sum to one over the subspaces.',
    unit: () => 'share',
    colours: 'viridis', fromZero: true, perQuery: false,
    applies: layer => Boolean(layer.maps.membership),
    tiles: ofSubspaces('membership'),
  },
  {
    id: 'assignment',
    name: 'hard assignment',
    title: () => 'Hard assignment',
    how: () => 'The subspace that holds most of each patch, one colour for each subspace.',
    unit: () => 'subspace',
    colours: 'areas', perQuery: false,
    applies: layer => Boolean(layer.maps.membership),
    tiles: ({run, layer}) => [{label: '', values: hardAssignment(headMaps(run, layer, 'membership'), layer.heads)}],
  },
  {
    id: 'gate',
    name: 'gate',
    title: () => 'Gate',
    how: () => 'How far each patch selects each subspace (the gate G): mostly exactly zero, the rest sums to one over '
      + 'the subspaces where the gate is soft thresholding.',
    unit: () => 'share',
    colours: 'viridis', fromZero: true, perQuery: false,
    applies: layer => Boolean(layer.maps.gate),
    tiles: ofSubspaces('gate'),
  },
  {
    id: 'similarity',
    name: 'similarity',
    title: () => 'Similarity',
    how: () => 'The cosine between the query’s token and every patch’s token, as they leave the layer: 1 is the same '
      + 'direction, 0 orthogonal.',
    unit: () => 'cosine',
    colours: 'cividis', sharedColours: 'diverging', sharedRange: [-1, 1], perQuery: true,
    applies: layer => Boolean(layer.tokens),
    tiles({run, layer, query}) {
      const values = similarity(run, layer, query);
      return values ? [{label: '', values}] : NO_TOKEN;
    },
  },
  {
    id: 'pca',
    name: 'PCA colours',
    title: () => 'PCA colours',
    how: () => 'The first three principal components of the patches’ tokens, as they leave the layer, as red, green '
      + 'and blue: patches of one colour have similar tokens. Colours of different layers do not correspond.',
    unit: () => 'component, 0 to 1',
    colours: 'components', perQuery: false,
    applies: layer => Boolean(layer.pca),
    tiles: ({run, layer}) => [{label: '', values: run.values(layer.pca)}],
  },
];

export function mapKind(id) {
  return MAP_KINDS.find(kind => kind.id === id) ?? MAP_KINDS[0];
}

// All footprints of a head (null: the mean of the heads) side by side in one grid of cells, and their range.
function mosaicOf(run, layer, head) {
  return run.once(`${layer.maps.representatives.a}/mosaic/${head}`,
    () => layOut(footprints(run, layer), run.header.grid, head));
}

function layOut({heads, count, columns: across, values}, [rows, columns], head) {
  const down = Math.ceil(count / across);
  const cells = rows * columns;
  const chosen = head === null ? Array.from({length: heads}, (_, k) => k) : [head];
  const laid = new Float32Array(down * rows * across * columns);
  for (let j = 0; j < count; j++) {
    const corner = Math.floor(j / across) * rows * across * columns + (j % across) * columns;
    for (let n = 0; n < cells; n++) {
      const place = corner + Math.floor(n / columns) * across * columns + n % columns;
      for (const k of chosen) {
        laid[place] += values[(k * count + j) * cells + n] / chosen.length;
      }
    }
  }
  return {values: laid, grid: [down * rows, across * columns], mosaic: [down, across], count};
}
