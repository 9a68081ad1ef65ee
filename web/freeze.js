/** Freeze to aim: the picture stands still on one frame, which the server keeps for clicks. */

import { framePin, frameUnpin } from "./messages.js";
import { set } from "./objects.js";

/** As long as the server keeps a pinned frame (docs/protocol.md). */
const PIN_MS = 10000;
const TICK_MS = 250;
const $ = (id) => document.getElementById(id);

const UNTOLD = "This browser does not tell which frame it shows, so the picture cannot be frozen.";
const OVER = "The picture is live again: a frozen one is kept for ten seconds.";
const NOT_CONNECTED = "Not connected to the server: try again in a moment.";

/**
 * `on.send(message)` reaches the stream; `on.answered()` resolves when no prompt is under way;
 * `on.change(frozen)` is told when the picture stands still and when it is live again;
 * `on.say(sentence)` why it is.
 */
export class Freeze {
  #canvas = $("still");
  #on;
  #taking = null;
  #pin = null;
  #ends = 0;
  #ticking = null;
  #count = 0;

  constructor(on) {
    this.#on = on;
    $("frozen").style.setProperty("--whole", `${PIN_MS}ms`);
  }

  /** Does the picture stand still, or will it with the next frame? */
  get on() {
    return this.#pin !== null || this.#taking !== null;
  }

  /** The `at` of prompts on the frozen picture; null while it is live. */
  get at() {
    return this.#pin?.at ?? null;
  }

  /** Freeze on the next frame of a StreamView. */
  async freeze(view) {
    if (this.on) return;
    const taking = (this.#taking = {});
    const record = await view.still((...shown) => this.#taking === taking && this.#draw(...shown));
    if (this.#taking !== taking) return;
    this.#taking = null;
    if (record?.rtpTimestamp === undefined) this.#on.say(UNTOLD);
    else this.#show(record);
  }

  /** Back to the live picture. */
  release(sentence = null) {
    this.#taking = null;
    const pin = this.#pin;
    if (pin === null) return;
    this.#pin = null;
    clearInterval(this.#ticking);
    this.#reveal(false);
    if (sentence !== null) this.#on.say(sentence);
    this.#letGo();
  }

  /** The server pinned a frame; true when it was ours. */
  pinned({ id, frame_id }) {
    if (this.#pin === null || this.#pin.id !== id) return false;
    const { w, h } = this.#pin.at;
    this.#pin.at = { frame_id, w, h };
    return true;
  }

  /** The server refused something; true when it was the pin. */
  refused({ id, message }) {
    if (this.#pin === null || this.#pin.id !== id) return false;
    this.release(`Not frozen: ${message}`);
    return true;
  }

  #draw(picture, width, height) {
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#canvas.getContext("2d").drawImage(picture, 0, 0);
  }

  #show({ rtpTimestamp, width, height }) {
    const id = `pin-${++this.#count}`;
    const at = { rtp: rtpTimestamp, w: width, h: height };
    if (!this.#on.send(framePin(id, at))) {
      this.#on.say(NOT_CONNECTED);
      return;
    }
    this.#pin = { id, at };
    this.#ends = performance.now() + PIN_MS;
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
    this.#reveal(true);
  }

  #tick() {
    const left = this.#ends - performance.now();
    if (left <= 0) this.release(OVER);
    else set($("frozen-left"), `${Math.ceil(left / 1000)} s`);
  }

  #reveal(frozen) {
    this.#canvas.hidden = !frozen;
    $("frozen").hidden = !frozen;
    $("stage").toggleAttribute("data-frozen", frozen);
    $("freeze-button").setAttribute("aria-pressed", String(frozen));
    this.#on.change(frozen);
  }

  /** The server lets the frame go at once, so prompts on it are answered first. */
  async #letGo() {
    const count = this.#count;
    await this.#on.answered();
    if (this.#count === count) this.#on.send(frameUnpin());
  }
}
