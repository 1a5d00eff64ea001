// The answer of a segmentor: probabilities anywhere on the picture, labels of all pixels, scores against the truth.
import {softmaxInPlace} from './maps.js';

const IGNORED = 255;

// Where pixel `index` of `size` lies between the `count` values of a side: the lower one, the upper one, the share.
function between(index, size, count, alignCorners) {
  const place = alignCorners ? (size > 1 ? index * (count - 1) / (size - 1) : 0)
    : Math.max(0, (index + 0.5) * count / size - 0.5);
  const low = Math.min(Math.floor(place), count - 1);
  return [low, Math.min(low + 1, count - 1), place - low];
}

export class Segmentation {
  constructor(run) {
    const prediction = run.header.prediction;
    this.run = run;
    this.logits = run.values(prediction.logits);
    [this.channels, this.rows, this.columns] = run.shape(prediction.logits);
    [this.height, this.width] = prediction.covers;
    this.alignCorners = prediction.align_corners;
    this.threshold = prediction.threshold ?? 0.5;
    this.classes = run.header.model.classes;
  }

  // Logits of a pixel, interpolated between the values of the head.
  logitsAt(y, x) {
    const [top, bottom, down] = between(y, this.height, this.rows, this.alignCorners);
    const [left, right, across] = between(x, this.width, this.columns, this.alignCorners);
    const found = new Float32Array(this.channels);
    for (let c = 0; c < this.channels; c++) {
      const from = c * this.rows * this.columns;
      const at = (row, column) => this.logits[from + row * this.columns + column];
      found[c] = (1 - down) * ((1 - across) * at(top, left) + across * at(top, right))
        + down * ((1 - across) * at(bottom, left) + across * at(bottom, right));
    }
    return found;
  }

  // Probability of every class at a place of the picture.
  probabilities(place) {
    const {width, height} = this.run.header.image;
    const pixel = (share, size) => Math.max(0, Math.min(size - 1, Math.floor(share * size)));
    const row = this.logitsAt(pixel(place.y, height), pixel(place.x, width));
    if (this.channels === 1) {
      const share = 1 / (1 + Math.exp(-row[0]));
      return Float32Array.of(1 - share, share);
    }
    softmaxInPlace(row);
    return row;
  }

  // Class of every pixel of the picture, row-major.
  get labels() {
    this.found ??= this.findLabels();
    return this.found;
  }

  findLabels() {
    const {width, height} = this.run.header.image;
    const labels = new Uint16Array(width * height);
    const best = new Float32Array(width);
    const line = new Float32Array(this.columns);
    const across = Array.from({length: width}, (_, x) => between(x, this.width, this.columns, this.alignCorners));
    const cut = Math.log(this.threshold / (1 - this.threshold));
    for (let y = 0; y < height; y++) {
      const [top, bottom, down] = between(y, this.height, this.rows, this.alignCorners);
      best.fill(this.channels === 1 ? cut : -Infinity);
      for (let c = 0; c < this.channels; c++) {
        const first = (c * this.rows + top) * this.columns;
        const second = (c * this.rows + bottom) * this.columns;
        for (let x = 0; x < this.columns; x++) {
          line[x] = (1 - down) * this.logits[first + x] + down * this.logits[second + x];
        }
        for (let x = 0; x < width; x++) {
          const [left, right, share] = across[x];
          const value = (1 - share) * line[left] + share * line[right];
          if (value > best[x]) {
            best[x] = value;
            labels[y * width + x] = this.channels === 1 ? 1 : c;
          }
        }
      }
    }
    return labels;
  }

  // Share of the picture that each class covers.
  get shares() {
    this.counted ??= shareOf(this.labels, this.classes.length);
    return this.counted;
  }
}

function shareOf(labels, numClasses) {
  const shares = new Float64Array(numClasses);
  for (const label of labels) {
    if (label < numClasses) {
      shares[label] += 1 / labels.length;
    }
  }
  return shares;
}

export function truthOf(run) {
  return run.header.ground_truth ? run.values(run.header.ground_truth) : null;
}

// How far labels agree with the truth: the share of labelled pixels, and the IoU of each class (NaN where absent).
export function agreement(labels, truth, numClasses) {
  const both = new Float64Array(numClasses);
  const either = new Float64Array(numClasses);
  let right = 0;
  let labelled = 0;
  for (let i = 0; i < truth.length; i++) {
    if (truth[i] === IGNORED) {
      continue;
    }
    labelled++;
    either[truth[i]]++;
    if (labels[i] === truth[i]) {
      right++;
      both[truth[i]]++;
    } else {
      either[labels[i]]++;
    }
  }
  return {accuracy: labelled ? right / labelled : NaN, iou: Array.from(both, (value, c) => value / either[c])};
}

export function isIgnored(label) {
  return label === IGNORED;
}
