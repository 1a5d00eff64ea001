// Saving: figures as SVG and PNG, numbers as CSV.
import {element} from './elements.js';
import {showError} from './messages.js';
import {newCanvas} from './pixels.js';

const PNG_SCALE = 2;

function offer(blob, name) {
  const link = element('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export function safeName(...parts) {
  return parts.filter(part => part !== '').map(part => String(part).replace(/[^\p{L}\p{N}.-]+/gu, '-')
    .replace(/^[-.]+|[-.]+$/g, '').slice(0, 60)).filter(Boolean).join('_') || 'figure';
}

function svgBlob(root) {
  return new Blob([new XMLSerializer().serializeToString(root)], {type: 'image/svg+xml'});
}

export function saveSvg(root, name) {
  offer(svgBlob(root), `${name}.svg`);
}

export async function savePng(root, name) {
  const address = URL.createObjectURL(svgBlob(root));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const [width, height] = ['width', 'height'].map(side => PNG_SCALE * Number(root.getAttribute(side)));
    const canvas = newCanvas(width, height);
    canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise(resolve => canvas.toBlob(resolve, 'image/png'));
    offer(blob, `${name}.png`);
  } catch {
    showError('This figure could not be drawn as a PNG; SVG may work.');
  } finally {
    URL.revokeObjectURL(address);
  }
}

function csvField(value) {
  const text = value === null || value === undefined ? '' : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Rows of fields, the first one their names.
export function saveCsv(rows, name) {
  const text = rows.map(row => row.map(csvField).join(',') + '\r\n').join('');
  offer(new Blob([text], {type: 'text/csv;charset=utf-8'}), `${name}.csv`);
}

export function savePage(blob, name) {
  offer(blob, `${name}.html`);
}
