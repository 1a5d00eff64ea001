// Colours that colour-blind readers tell apart: two sequential maps, a diverging one, and a palette of areas.
const ANCHORS = {
  // Evenly spaced colours of viridis and cividis, interpolated between.
  viridis: ['440154', '48186a', '472d7b', '424086', '3b528b', '33638d', '2c728e', '26828e', '21918c', '1fa088',
    '28ae80', '3fbc73', '5ec962', '84d44b', 'addc30', 'd8e219', 'fde725'],
  cividis: ['00224e', '002e6a', '1a386f', '32436d', '434e6c', '535a6d', '61656f', '6f7073', '7d7c78', '8c8878',
    '9b9476', 'aba072', 'bcae6c', 'cdbb63', 'dec958', 'f0d846', 'fee838'],
  diverging: ['0b3c6f', '2a6ca8', '7fb0d6', 'c9dded', 'f5f5f2', 'f6d9b8', 'e8a662', 'c46a1a', '7a3604'],
};
// Okabe and Ito's colours, then lighter and darker ones.
const AREAS = ['e69f00', '56b4e9', '009e73', 'f0e442', '0072b2', 'd55e00', 'cc79a7', '999999', 'ffe0a3', 'bfe4fa',
  '8fddc4', '7a7300', '002f4d', '6b2f00', 'f2d5e3', '333333'];
const STEPS = 256;

function channels(hex) {
  return [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16));
}

function table(anchors) {
  const colours = anchors.map(channels);
  const found = new Uint8ClampedArray(3 * STEPS);
  for (let i = 0; i < STEPS; i++) {
    const place = i / (STEPS - 1) * (colours.length - 1);
    const low = Math.min(Math.floor(place), colours.length - 2);
    for (let c = 0; c < 3; c++) {
      found[3 * i + c] = colours[low][c] + (place - low) * (colours[low + 1][c] - colours[low][c]);
    }
  }
  return found;
}

export const COLOUR_MAPS = Object.fromEntries(Object.entries(ANCHORS).map(([name, list]) => [name, table(list)]));

export function areaColour(index) {
  return channels(AREAS[index % AREAS.length]);
}

// Colour of a class: the data set's own, or one of the areas'.
export function classColour(model, index) {
  return model.palette?.[index] ?? areaColour(index);
}

export function cssColour([red, green, blue]) {
  return `rgb(${red}, ${green}, ${blue})`;
}

// Writes values as colours into RGBA bytes: low is the first colour of the table, high the last.
export function paintValues(rgba, values, name, low, high) {
  const colours = COLOUR_MAPS[name];
  const factor = high > low ? (STEPS - 1) / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    const step = Math.max(0, Math.min(STEPS - 1, Math.round((values[i] - low) * factor)));
    rgba[4 * i] = colours[3 * step];
    rgba[4 * i + 1] = colours[3 * step + 1];
    rgba[4 * i + 2] = colours[3 * step + 2];
    rgba[4 * i + 3] = 255;
  }
}

export function paintAreas(rgba, labels) {
  for (let i = 0; i < labels.length; i++) {
    rgba.set([...areaColour(labels[i]), 255], 4 * i);
  }
}

// Three values in 0..1 for each cell as red, green and blue.
export function paintComponents(rgba, values) {
  for (let i = 0, cell = 0; i < values.length; i += 3, cell += 4) {
    rgba[cell] = 255 * values[i];
    rgba[cell + 1] = 255 * values[i + 1];
    rgba[cell + 2] = 255 * values[i + 2];
    rgba[cell + 3] = 255;
  }
}
