/** From the person's hand to a prompt: where on the frame, which frame, add or cut. */

import { Crosshair } from "./crosshair.js";
import { boxBetween } from "./geometry.js";
import { Gestures } from "./pointer.js";

/**
 * Watches the glass over the picture, with the crosshair element `cross` for the keyboard.
 * `context()` tells {view, prompts, markers, surface, stage, freeze, cutting} of the moment; view is
 * null while there is nothing to click on. `onHold()` as Gestures has it.
 */
export class Aim {
  #glass;
  #context;
  #gestures;

  constructor(glass, cross, context, onHold) {
    this.#glass = glass;
    this.#context = context;
    this.#gestures = new Gestures(glass, {
      onClick: (click) => this.#click(click),
      onDrag: (from, to) => this.#band(from, to),
      onBox: (box) => this.#box(box),
      onCancel: () => context().stage.band(null),
      onHold,
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
    const { view, surface, cutting } = this.#context();
    const place = surface.inFrame(x, y);
    if (view === null || !place?.inside) return;
    const label = negative || cutting ? 0 : 1;
    const what = { points: [[place.x, place.y]], labels: [label] };
    this.#prompt(what, time, place, label ? "add" : "cut");
  }

  #box({ from, to, time }) {
    const { view, surface, stage } = this.#context();
    stage.band(null);
    const [a, b] = [surface.inFrame(from.x, from.y), surface.inFrame(to.x, to.y)];
    if (view === null || a === null) return;
    const box = boxBetween(a, b);
    if (box[0] === box[2] || box[1] === box[3]) return;
    const middle = { x: (box[0] + box[2]) / 2, y: (box[1] + box[3]) / 2 };
    this.#prompt({ box }, time, middle, "box");
  }

  /** What the prompt is for is settled now; its frame may be told a moment later. */
  #prompt(what, time, place, kind) {
    const { view, prompts, markers, freeze } = this.#context();
    const send = prompts.aim(what, markers.place(place, kind));
    if (freeze.at !== null) send(freeze.at);
    else view.frameAt(time).then(send);
  }

  #band(from, to) {
    const { view, stage } = this.#context();
    if (view === null) return;
    const { left, top } = this.#glass.getBoundingClientRect();
    stage.band({
      x: Math.min(from.x, to.x) - left, y: Math.min(from.y, to.y) - top,
      width: Math.abs(to.x - from.x), height: Math.abs(to.y - from.y),
    });
  }
}
