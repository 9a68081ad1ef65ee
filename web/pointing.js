/** All that stands between a hand and the tracker: the picture, aiming, freezing, marks. */

import { Aim } from "./aim.js";
import { Freeze } from "./freeze.js";
import { Markers } from "./markers.js";
import { announce } from "./stage.js";
import { Surface } from "./surface.js";

const $ = (id) => document.getElementById(id);

/**
 * Pointing at the live or frozen picture. `view()` tells the StreamView to point at, null while there
 * is none; `cutting()` whether clicks take away; `send(message)` reaches the stream.
 */
export class Pointing {
  #view;
  #objects = [];
  #frame = 0;
  #surface = new Surface($("video"), $("still"));
  #markers = new Markers($("markers"), {
    onStage: (place) => this.#surface.onStage(place),
    where: (id) => this.#middle(id),
  });
  #freeze;
  #aim;

  constructor({ view, prompts, stage, cutting, send }) {
    this.#view = view;
    this.#freeze = new Freeze({
      send,
      answered: () => prompts.answered(),
      change: (frozen) => this.#frozen(frozen),
      say: (sentence) => stage.banner(sentence),
    });
    const parts = { prompts, stage, markers: this.#markers, surface: this.#surface, freeze: this.#freeze };
    const context = () => ({ ...parts, view: view(), cutting: cutting() });
    this.#aim = new Aim($("glass"), $("cross"), context, () => this.#held());
    new ResizeObserver(() => this.#markers.resized()).observe($("glass"));
    $("freeze-button").onclick = () => this.toggleFreeze();
    $("frozen-release").onclick = () => this.release();
  }

  /** The objects of an `objects` message and its frame. */
  told(objects, frame) {
    this.#objects = objects;
    this.#frame = frame;
    this.#markers.moved();
  }

  mirror(on) {
    this.#surface.mirror(on);
    this.#markers.resized();
  }

  toggleFreeze() {
    if (this.#freeze.on) this.release();
    else if (this.#view() !== null) this.#freeze.freeze(this.#view());
  }

  /** Back to the live picture. */
  release() {
    this.#freeze.release();
  }

  /** Give up what is under way; false when nothing was. */
  giveUp() {
    const dragging = this.#aim.dragging;
    const frozen = this.#freeze.on;
    if (dragging) this.#aim.cancel();
    else this.release();
    return dragging || frozen;
  }

  /** Another stream comes on the stage. */
  leave() {
    this.release();
    this.#markers.clear();
  }

  pinned(message) {
    return this.#freeze.pinned(message);
  }

  refused(message) {
    return this.#freeze.refused(message);
  }

  /** A finger rests on the picture: freeze it, unless it is frozen already. */
  #held() {
    if (this.#freeze.on || this.#view() === null) return false;
    navigator.vibrate?.(15);
    this.toggleFreeze();
    return true;
  }

  #frozen(frozen) {
    this.#aim.cancel();
    this.#markers.keep(frozen);
    announce(frozen ? "Frozen: clicks are made on this frame." : "The picture is live.");
  }

  /** The middle of an object as it was told last, in the frame; null when it is not seen. */
  #middle(id) {
    const box = this.#objects.find((object) => object.id === id)?.box;
    const size = this.#surface.size;
    if (!box || size === null) return null;
    const [x0, y0, x1, y1] = box;
    return { x: (x0 + x1) / 2 / size.width, y: (y0 + y1) / 2 / size.height, frame: this.#frame };
  }
}
