// Models, pictures and runs from the server that this page came from.
import {Run} from './container.js';
import {showProgress} from './messages.js';

const KEPT_RUNS = 12;
const PATIENCE = 120;
const DEATHS = 2;
const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

async function refusal(response) {
  const said = await response.json().catch(() => null);
  return said?.error || `The server answers ${response.status}.`;
}

// A request; while the server is busy or still loads, it is made again, and `told` why. What ends the process of the
// models twice is given up.
async function request(path, options = {}, told = () => {}) {
  for (let tries = 0, deaths = 0; ; tries++) {
    let response;
    try {
      response = await fetch(path, options);
    } catch {
      throw new Error('The server does not answer: is mmwhitebox explore still running?');
    }
    if (response.ok) {
      return response;
    }
    const reason = await refusal(response);
    deaths += reason.includes('has ended');
    if (![429, 503].includes(response.status) || tries >= PATIENCE || deaths >= DEATHS) {
      throw new Error(reason);
    }
    told(reason);
    await pause(1000 * (Number(response.headers.get('Retry-After')) || 1));
  }
}

// The bytes of an answer, its progress shown.
async function bytesOf(response, task, text) {
  const total = Number(response.headers.get('Content-Length'));
  if (!total || !response.body) {
    return response.arrayBuffer();
  }
  const bytes = new Uint8Array(total);
  const reader = response.body.getReader();
  for (let done = 0; ;) {
    const part = await reader.read();
    if (part.done) {
      return bytes.buffer;
    }
    bytes.set(part.value, done);
    done += part.value.length;
    showProgress(task, text, done / total);
  }
}

export class ServedSource {
  constructor() {
    this.kept = new Map();
  }

  async models() {
    return (await (await request('api/models')).json()).models;
  }

  async images() {
    return (await request('api/images')).json();
  }

  thumbnail(id) {
    return `api/images/${encodeURIComponent(id)}/thumbnail`;
  }

  async upload(blob, name) {
    const headers = {'Content-Type': 'application/octet-stream', 'X-Name': encodeURIComponent(name)};
    return (await request('api/images', {method: 'POST', body: blob, headers},
      reason => showProgress('upload', `${name} is uploaded: ${reason}`))).json();
  }

  async run(model, image, whatIf, text) {
    const body = JSON.stringify({model, image, what_if: whatIf});
    if (!this.kept.has(body)) {
      showProgress(body, text);
      try {
        const headers = {'Content-Type': 'application/json'};
        const response = await request('api/run', {method: 'POST', body, headers},
          reason => showProgress(body, `${text}: ${reason}`));
        showProgress(body, text);
        this.keep(body, new Run(await bytesOf(response, body, text)));
      } finally {
        showProgress(body, null);
      }
    }
    return this.kept.get(body);
  }

  keep(key, run) {
    this.kept.set(key, run);
    if (this.kept.size > KEPT_RUNS) {
      this.kept.delete(this.kept.keys().next().value);
    }
  }

  async page(runs) {
    const headers = {'Content-Type': 'application/json'};
    return (await request('api/export', {method: 'POST', body: JSON.stringify({runs}), headers},
      reason => showProgress('export', `The page is written: ${reason}`))).blob();
  }
}
