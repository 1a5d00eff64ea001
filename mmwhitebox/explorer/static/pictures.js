// Which picture is looked at: thumbnails of the folder; upload, drag, paste and camera bring more.
import {offerCamera} from './camera.js';
import {byId, element} from './elements.js';
import {hideError, showError, showProgress} from './messages.js';

export class Pictures {
  constructor(source, store) {
    Object.assign(this, {source, store});
    this.images = [];
    this.box = byId('thumbnails');
    byId('bring').hidden = Boolean(source.stored);
    if (!source.stored) {
      this.bring();
    }
  }

  bring() {
    const input = document.querySelector('#open input');
    input.onchange = () => {
      this.upload(input.files[0], input.files[0]?.name);
      input.value = '';
    };
    document.addEventListener('dragover', event => event.preventDefault());
    document.addEventListener('drop', event => {
      event.preventDefault();
      const [file] = event.dataTransfer.files;
      this.upload(file, file?.name);
    });
    document.addEventListener('paste', event => {
      const [file] = event.clipboardData.files;
      if (file) {
        event.preventDefault();
        this.upload(file, file.name);
      }
    });
    offerCamera(byId('camera'), (blob, name) => this.upload(blob, name));
  }

  async upload(blob, name) {
    if (!blob) {
      return;
    }
    hideError();
    showProgress('upload', `${name} is uploaded`);
    try {
      const image = await this.source.upload(blob, name);
      this.images = [image, ...this.images.filter(other => other.id !== image.id)];
      this.store.set({image: image.id});
      this.fill();
    } catch (error) {
      showError(error.message);
    } finally {
      showProgress('upload', null);
    }
  }

  async load() {
    const {images, more} = await this.source.images();
    const known = new Set(images.map(image => image.id));
    this.images = [...this.images.filter(image => !known.has(image.id)), ...images];
    this.more = more;
    this.fill();
  }

  fill() {
    const buttons = this.images.map(image => {
      const picture = element('img', {alt: '', loading: 'lazy', src: this.source.thumbnail(image.id)});
      picture.onerror = () => picture.remove();
      const button = element('button', {type: 'button', title: image.name}, picture,
        element('span', {textContent: image.name}));
      button.dataset.image = image.id;
      button.onclick = () => this.store.set({image: image.id});
      return button;
    });
    const rest = this.more ? [element('span', {className: 'more', textContent: `${this.more} more in the folder`})] : [];
    this.box.replaceChildren(...buttons, ...rest);
    this.update(this.store.state);
  }

  update(state) {
    for (const button of this.box.querySelectorAll('button')) {
      button.setAttribute('aria-pressed', String(button.dataset.image === state.image));
    }
  }

  has(id) {
    return this.images.some(image => image.id === id);
  }
}
