// What the page tells: an error in a sentence, what it waits for, and, to screen readers, where the cursor is.
import {byId} from './elements.js';

const ANNOUNCE_AFTER = 400;
let announceTimer = null;

export function showError(text) {
  const box = byId('error');
  box.querySelector('p').textContent = text;
  box.hidden = false;
  box.querySelector('button').onclick = hideError;
}

export function hideError() {
  byId('error').hidden = true;
}

const tasks = new Map();

// Shows a task and its progress (a share, or null where it is unknown); no text: the task is done.
export function showProgress(task, text, share = null) {
  if (text) {
    tasks.set(task, {text, share});
  } else {
    tasks.delete(task);
  }
  const box = byId('progress');
  const latest = [...tasks.values()].at(-1);
  box.hidden = !latest;
  if (latest) {
    box.querySelector('span').textContent = latest.text;
    const bar = box.querySelector('progress');
    bar.setAttribute('aria-label', latest.text);
    if (latest.share === null) {
      bar.removeAttribute('value');
    } else {
      bar.value = latest.share;
    }
  }
}

export function announce(text) {
  clearTimeout(announceTimer);
  announceTimer = setTimeout(() => {
    byId('announcer').textContent = text;
  }, ANNOUNCE_AFTER);
}
