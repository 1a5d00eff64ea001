// The picture of a run as canvases: in its colours and in grey. Made once for each run.
import {element} from './elements.js';

export function newCanvas(width, height) {
  return element('canvas', {width, height});
}

function paintedCanvas(run, key, colour) {
  if (!run.cache.has(key)) {
    const {width, height, pixels} = run.header.image;
    const bytes = run.values(pixels);
    const canvas = newCanvas(width, height);
    const data = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      data.data.set(colour(bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2]), 4 * i);
    }
    canvas.getContext('2d').putImageData(data, 0, 0);
    run.cache.set(key, canvas);
  }
  return run.cache.get(key);
}

export function pictureCanvas(run) {
  return paintedCanvas(run, 'picture canvas', (red, green, blue) => [red, green, blue, 255]);
}

export function greyCanvas(run) {
  return paintedCanvas(run, 'grey canvas', (red, green, blue) => {
    const grey = 0.299 * red + 0.587 * green + 0.114 * blue;
    return [grey, grey, grey, 255];
  });
}
