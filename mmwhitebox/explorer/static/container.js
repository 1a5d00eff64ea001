// The binary container: a JSON header, then arrays, some of them quantised in groups.
const MAGIC = 'MMWB';
const HEAD_BYTES = 12;
const ARRAY_TYPES = {u1: Uint8Array, u2: Uint16Array, i4: Int32Array, f4: Float32Array};

// Length of the JSON header, from the first 12 bytes.
export function headerLength(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = bytes.byteLength < HEAD_BYTES ? '' : String.fromCharCode(...bytes.subarray(0, 4));
  if (magic !== MAGIC || view.getUint32(4, true) !== 1) {
    throw new Error('The answer is not in the format that this page reads (MMWB, version 1).');
  }
  return view.getUint32(8, true);
}

export function parseHeader(bytes) {
  const length = headerLength(bytes);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(HEAD_BYTES, HEAD_BYTES + length)));
}

// What one model did with one picture: its header and, on demand, its arrays as numbers.
export class Run {
  constructor(buffer) {
    const bytes = new Uint8Array(buffer);
    this.header = parseHeader(bytes);
    this.buffer = buffer;
    this.start = HEAD_BYTES + headerLength(bytes);
    this.cache = new Map();
  }

  shape(name) {
    return this.header.arrays[name].shape;
  }

  // What is made once for this run, by its name.
  once(key, make) {
    if (!this.cache.has(key)) {
      this.cache.set(key, make());
    }
    return this.cache.get(key);
  }

  // Values of an array, row-major; quantised ones become zero[g] + scale[g] * q.
  values(name) {
    return this.once(name, () => this.decode(name));
  }

  decode(name) {
    const entry = this.header.arrays[name];
    const count = entry.shape.reduce((product, size) => product * size, 1);
    const stored = new ARRAY_TYPES[entry.dtype](this.buffer, this.start + entry.offset, count);
    if (!entry.scale) {
      return stored;
    }
    const values = new Float32Array(count);
    const groupSize = count / entry.scale.length;
    for (let group = 0, i = 0; group < entry.scale.length; group++) {
      const scale = entry.scale[group];
      const zero = entry.zero[group];
      for (const end = (group + 1) * groupSize; i < end; i++) {
        values[i] = zero + scale * stored[i];
      }
    }
    return values;
  }
}
