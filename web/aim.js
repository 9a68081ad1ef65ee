/** From the person's hand to a prompt: where on the frame, which frame, add or cut. */

import { Crosshair } from "./crosshair.js";
import { boxBetween, toFrame } from "./geometry.js";
import { Gestures } from "./pointer.js";

/**
 * Watches the glass over `video`, with the crosshair element `cross` for the keyboard. `context()` tells {view, prompts, markers, stage, mirror, cutting}
 * of the moment; view is null while there is nothing to click on.
 */
export class Aim {
  #video;
  #glass;
  #context;
  #gestures;

  constructor(video, glass, cross, context) {
    this.#video = video;
    this.#glass = glass;
    this.#context = context;
    this.#gestures = new Gestures(glass, {
      onClick: (click) => this.#click(click),
      onDrag: (from, to) => this.#band(from, to),
      onBox: (box) => this.#box(box),
      onCancel: () => context().stage.band(null),
    });
    new Crosshair(glass, cross, (click) => this.#click(click));
  }

  get dragging() {
    return this.#gestures.dragging;
  }

  cancel() {
    this.#gestures.cancel();
  }

  #click({ x, y, time, negative }) {
    const { view, prompts, markers, cutting } = this.#context();
    const place = this.#place(x, y);
    if (view === null || !place?.inside) return;
    const label = negative || cutting ? 0 : 1;
    const marker = markers.place(...this.#onGlass(x, y), label ? "add" : "cut");
    const what = { points: [[place.x, place.y]], labels: [label] };
    view.frameAt(time).then((at) => prompts.add(what, at, marker));
  }

  #box({ from, to, time }) {
    const { view, prompts, markers, stage } = this.#context();
    stage.band(null);
    const [a, b] = [this.#place(from.x, from.y), this.#place(to.x, to.y)];
    if (view === null || a === null) return;
    const box = boxBetween(a, b);
    if (box[0] === box[2] || box[1] === box[3]) return;
    const [x0, y0] = this.#onGlass(from.x, from.y);
    const [x1, y1] = this.#onGlass(to.x, to.y);
    const marker = markers.place((x0 + x1) / 2, (y0 + y1) / 2, "box");
    view.frameAt(time).then((at) => prompts.add({ box }, at, marker));
  }

  #band(from, to) {
    const { view, stage } = this.#context();
    if (view === null) return;
    const [x0, y0] = this.#onGlass(from.x, from.y);
    const [x1, y1] = this.#onGlass(to.x, to.y);
    stage.band({
      x: Math.min(x0, x1), y: Math.min(y0, y1), width: Math.abs(x1 - x0), height: Math.abs(y1 - y0),
    });
  }

  /** The place in the frame under a page position; null before the frame's size is known. */
  #place(x, y) {
    const size = { width: this.#video.videoWidth, height: this.#video.videoHeight };
    if (size.width === 0) return null;
    const box = this.#video.getBoundingClientRect();
    return toFrame(x, y, box, size, { mirror: this.#context().mirror });
  }

  #onGlass(x, y) {
    const box = this.#glass.getBoundingClientRect();
    return [x - box.left, y - box.top];
  }
}
