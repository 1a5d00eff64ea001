// The runs of one model that are shown: the undisturbed one of the picture and, if something is disturbed, that one.
import {takenBy} from './disturbances.js';

export class ModelRuns {
  // `told(base, run)` when there is something new to show, `failed(error, known)` when there is not; `known`: whether
  // what was told last is of the picture that was wanted.
  constructor(source, model, told, failed) {
    Object.assign(this, {source, model, told, failed});
    this.busy = false;
  }

  // The latest wish counts; one request at a time.
  want(image, whatIf) {
    this.wanted = {image, whatIf};
    if (!this.busy) {
      this.work();
    }
  }

  async work() {
    this.busy = true;
    for (let done = null; done !== this.wanted;) {
      done = this.wanted;
      try {
        await this.fetch(done);
      } catch (error) {
        const known = this.image === done.image;
        this.image = known ? this.image : undefined;
        this.failed(error, known);
      }
    }
    this.busy = false;
  }

  async fetch(wanted) {
    const {image, whatIf} = wanted;
    const {id, name} = this.model;
    const base = await this.source.run(id, image, [], `${name} looks at the picture`);
    const items = this.source.stored ? whatIf : takenBy(whatIf, base.header);
    const isNew = this.image !== image;
    this.image = image;
    if (!items.length || isNew) {
      this.told(base, base);
    }
    if (!items.length) {
      return;
    }
    const run = await this.source.run(id, image, items, `${name} is disturbed`);
    if (wanted.image === this.wanted.image) {
      this.told(base, run);
    }
  }
}
