// Canvases of pixels. Those of the picture of a run, in its colours and in grey, are made once for each run.
import {element} from './elements.js';

export function newCanvas(width, height) {
  return element('canvas', {width, height});
}

// A canvas, a new one if none is given, with the RGBA bytes that `paint` writes.
export function paintedCanvas(width, height, paint, canvas = newCanvas(width, height)) {
  const data = new ImageData(width, height);
  paint(data.data);
  Object.assign(canvas, {width, height}).getContext('2d').putImageData(data, 0, 0);
  return canvas;
}

function pictureIn(run, key, colour) {
  const {width, height, pixels} = run.header.image;
  const bytes = run.values(pixels);
  return run.once(key, () => paintedCanvas(width, height, rgba => {
    for (let i = 0; i < width * height; i++) {
      rgba.set(colour(bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2]), 4 * i);
    }
  }));
}

export function pictureCanvas(run) {
  return pictureIn(run, 'picture canvas', (red, green, blue) => [red, green, blue, 255]);
}

export function greyCanvas(run) {
  return pictureIn(run, 'grey canvas', (red, green, blue) => {
    const grey = 0.299 * red + 0.587 * green + 0.114 * blue;
    return [grey, grey, grey, 255];
  });
}
