// Models, pictures and runs that an exported page holds itself, in base64.
import {headerLength, parseHeader, Run} from './container.js';
import {byId} from './elements.js';
import {paintedCanvas} from './pixels.js';

const THUMBNAIL_SIDE = 120;

// Bytes `from` to `to` of base64 text.
function decodedSlice(text, from, to) {
  const first = Math.floor(from / 3);
  const binary = atob(text.slice(4 * first, 4 * Math.ceil(to / 3)));
  const bytes = new Uint8Array(to - from);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = binary.charCodeAt(from - 3 * first + i);
  }
  return bytes;
}

function byteLength(text) {
  return text.length / 4 * 3 - (text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0);
}

function* blocks() {
  for (let i = 0; ; i++) {
    const block = byId(`run-${i}`);
    if (!block) {
      return;
    }
    const text = block.textContent.replace(/\s+/g, '');
    const head = headerLength(decodedSlice(text, 0, 12));
    yield {text, head, model: block.dataset.model, image: block.dataset.image,
      header: parseHeader(decodedSlice(text, 0, 12 + head))};
  }
}

export class EmbeddedSource {
  constructor() {
    this.blocks = [...blocks()];
  }

  get isEmpty() {
    return !this.blocks.length;
  }

  async models() {
    const found = new Map(this.blocks.map(({model, header}) => [model, {...header.model, id: model, ready: true}]));
    return [...found.values()];
  }

  async images() {
    const found = new Map(this.blocks.map(block => [block.image, {id: block.image, name: block.header.image.name}]));
    return {images: [...found.values()], more: 0};
  }

  thumbnail(id) {
    const {text, head, header} = this.blocks.find(block => block.image === id);
    const {width, height, pixels} = header.image;
    const start = 12 + head + header.arrays[pixels].offset;
    const bytes = decodedSlice(text, start, start + 3 * width * height);
    const step = Math.max(1, Math.ceil(Math.max(width, height) / THUMBNAIL_SIDE));
    const across = Math.ceil(width / step);
    return paintedCanvas(across, Math.ceil(height / step), rgba => {
      for (let i = 0; 4 * i < rgba.length; i++) {
        const from = 3 * (Math.floor(i / across) * step * width + (i % across) * step);
        rgba.set([bytes[from], bytes[from + 1], bytes[from + 2], 255], 4 * i);
      }
    }).toDataURL('image/png');
  }

  // What was disturbed in the runs of a picture, each once; the undisturbed ones first.
  stored(image) {
    const found = new Map([['[]', []]]);
    for (const {image: other, header} of this.blocks) {
      if (other === image) {
        found.set(JSON.stringify(header.what_if), header.what_if);
      }
    }
    return [...found.values()];
  }

  async run(model, image, whatIf) {
    const wanted = JSON.stringify(whatIf);
    const own = this.blocks.filter(block => block.model === model && block.image === image);
    const block = own.find(other => JSON.stringify(other.header.what_if) === wanted)
      ?? own.find(other => !other.header.what_if.length) ?? own[0];
    if (!block) {
      throw new Error('This page does not hold this picture for this model.');
    }
    block.run ??= new Run(decodedSlice(block.text, 0, byteLength(block.text)).buffer);
    return block.run;
  }
}
