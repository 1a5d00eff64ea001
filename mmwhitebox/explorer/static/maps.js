// Rows of the maps of a layer, computed from what the container holds of them.
// A query is {x, y}, a place on the picture in shares of its width and height, or {token: name}, an extra token.

export function cellOf(header, place) {
  const [rows, columns] = header.grid;
  const {width, height} = header.image;
  return {
    row: Math.max(0, Math.min(rows - 1, Math.floor(place.y * height / header.patch[0]))),
    column: Math.max(0, Math.min(columns - 1, Math.floor(place.x * width / header.patch[1]))),
  };
}

// The place in the middle of a patch; of patches that reach over the edge, in the middle of what can be seen.
export function placeOf(header, row, column) {
  const middle = (index, step, size) => (index * step + Math.min(size, (index + 1) * step)) / (2 * size);
  return {
    x: middle(column, header.patch[1], header.image.width),
    y: middle(row, header.patch[0], header.image.height),
  };
}

// What a query is called.
export function queryText(header, query) {
  const {row, column} = cellOf(header, query);
  return query.token ?? `patch (${row}, ${column})`;
}

// Index of a query among all tokens of a layer, extra ones first; -1 if the layer has no such token.
function tokenIndex(header, layer, query) {
  if (query.token !== undefined) {
    return layer.extra.indexOf(query.token);
  }
  const {row, column} = cellOf(header, query);
  return layer.extra.length + row * header.grid[1] + column;
}

// The last patches of every row: (rows, E + cells) -> (rows, cells).
function patchesOnly(values, rows, cells) {
  const width = values.length / rows;
  if (width === cells) {
    return values;
  }
  const patches = new Float32Array(rows * cells);
  for (let row = 0; row < rows; row++) {
    patches.set(values.subarray((row + 1) * width - cells, (row + 1) * width), row * cells);
  }
  return patches;
}

function cellCount(run) {
  return run.header.grid[0] * run.header.grid[1];
}

// sum_j left[k, token, j] right[k, j, :], with left[k, token, j] at offset(k, j).
function weightedRows(right, [heads, inner, width], left, offset) {
  const rows = new Float32Array(heads * width);
  for (let k = 0; k < heads; k++) {
    const row = rows.subarray(k * width, (k + 1) * width);
    for (let j = 0; j < inner; j++) {
      const weight = left[offset(k, j)];
      const from = (k * inner + j) * width;
      for (let n = 0; n < width; n++) {
        row[n] += weight * right[from + n];
      }
    }
  }
  return rows;
}

function softmaxRows(run, map, token) {
  const [heads, width, dims] = run.shape(map.k);
  const numQueries = run.shape(map.q)[1];
  const q = run.values(map.q);
  const k = run.values(map.k);
  const rows = new Float32Array(heads * width);
  for (let head = 0; head < heads; head++) {
    const query = q.subarray((head * numQueries + token) * dims, (head * numQueries + token + 1) * dims);
    const row = rows.subarray(head * width, (head + 1) * width);
    for (let n = 0, from = head * width * dims; n < width; n++, from += dims) {
      let score = 0;
      for (let d = 0; d < dims; d++) {
        score += query[d] * k[from + d];
      }
      row[n] = map.scale * score;
    }
    softmaxInPlace(row);
  }
  return rows;
}

export function softmaxInPlace(row) {
  let highest = -Infinity;
  for (const value of row) {
    highest = Math.max(highest, value);
  }
  let sum = 0;
  for (let n = 0; n < row.length; n++) {
    row[n] = Math.exp(row[n] - highest);
    sum += row[n];
  }
  for (let n = 0; n < row.length; n++) {
    row[n] /= sum;
  }
}

// One row of each head: (heads, count, width) -> (heads, width).
export function rowsAt(values, [heads, count, width], index) {
  const rows = new Float32Array(heads * width);
  for (let k = 0; k < heads; k++) {
    const from = (k * count + index) * width;
    rows.set(values.subarray(from, from + width), k * width);
  }
  return rows;
}

// Rows of all heads over the patches, (heads, cells); null if the query has none in this layer.
export function attentionRows(run, layer, query) {
  const map = layer.maps.attention;
  const token = tokenIndex(run.header, layer, query);
  if (!map || token < 0 || (map.queries === 'extra' && query.token === undefined)) {
    return null;
  }
  let rows;
  if (map.form === 'gram') {
    const shape = run.shape(map.a);
    const a = run.values(map.a);
    rows = weightedRows(a, shape, a, (k, j) => (k * shape[1] + j) * shape[2] + token);
  } else if (map.form === 'product') {
    const [, numQueries, inner] = run.shape(map.b);
    rows = weightedRows(run.values(map.a), run.shape(map.a), run.values(map.b),
      (k, j) => (k * numQueries + token) * inner + j);
  } else if (map.form === 'softmax') {
    rows = softmaxRows(run, map, token);
  } else {
    rows = rowsAt(run.values(map.rows), run.shape(map.rows), token);
  }
  return patchesOnly(rows, layer.heads, cellCount(run));
}

// Coefficients of the representatives over the patches, (heads, m, cells).
export function footprints(run, layer) {
  const {a, pool} = layer.maps.representatives;
  const [heads, count] = run.shape(a);
  return {heads, count, columns: pool ?? Math.ceil(Math.sqrt(count)),
    values: run.once(`${a}/patches`, () => patchesOnly(run.values(a), heads * count, cellCount(run)))};
}

// The representative that takes most from a patch, in one head or, on average, in all (head null).
export function mainRepresentative({heads, count, values}, cell, head) {
  const cells = values.length / (heads * count);
  let best = 0;
  let most = -Infinity;
  for (let j = 0; j < count; j++) {
    let share = 0;
    for (let k = 0; k < heads; k++) {
      if (head === null || head === k) {
        share += values[(k * count + j) * cells + cell];
      }
    }
    if (share > most) {
      [best, most] = [j, share];
    }
  }
  return best;
}

// Membership or gate over the patches, (heads, cells).
export function headMaps(run, layer, kind) {
  return patchesOnly(run.values(layer.maps[kind]), layer.heads, cellCount(run));
}

// The head that holds most of each patch, ties to the first.
export function hardAssignment(values, heads) {
  const cells = values.length / heads;
  const assigned = new Uint8Array(cells);
  for (let n = 0; n < cells; n++) {
    for (let k = 1; k < heads; k++) {
      if (values[k * cells + n] > values[assigned[n] * cells + n]) {
        assigned[n] = k;
      }
    }
  }
  return assigned;
}

// Cosine similarity of a token, as it leaves the layer, with every patch, (cells,); null if there is no such token.
export function similarity(run, layer, query) {
  const token = tokenIndex(run.header, layer, query);
  if (token < 0) {
    return null;
  }
  const [count, dims] = run.shape(layer.tokens);
  const tokens = run.values(layer.tokens);
  const norms = run.once(`${layer.tokens}/norms`, () => tokenNorms(tokens, count, dims));
  const cells = cellCount(run);
  const cosine = new Float32Array(cells);
  const own = tokens.subarray(token * dims, (token + 1) * dims);
  for (let n = 0, other = count - cells; n < cells; n++, other++) {
    let product = 0;
    for (let d = 0, from = other * dims; d < dims; d++) {
      product += own[d] * tokens[from + d];
    }
    cosine[n] = product / Math.max(norms[token] * norms[other], 1e-12);
  }
  return cosine;
}

function tokenNorms(tokens, count, dims) {
  return Float64Array.from({length: count}, (_, n) => {
    let sum = 0;
    for (let i = n * dims; i < (n + 1) * dims; i++) {
      sum += tokens[i] * tokens[i];
    }
    return Math.sqrt(sum);
  });
}

// The mean over the heads, (heads, cells) -> (cells,).
export function headMean(values, heads) {
  const cells = values.length / heads;
  const mean = new Float32Array(cells);
  for (let i = 0; i < values.length; i++) {
    mean[i % cells] += values[i] / heads;
  }
  return mean;
}
