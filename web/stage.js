/** What stands on the stage beside the video: cards, banners, hints, the play button. */

import { set } from "./objects.js";

const BANNER_MS = 6000;
const $ = (id) => document.getElementById(id);

export class Stage {
  #stage = $("stage");
  #video = $("video");
  #bannerTimer = null;
  #action = () => {};

  constructor({ onCamera }) {
    $("card-action").onclick = () => this.#action();
    $("card-camera").onclick = onCamera;
    $("play").onclick = () => this.#video.play().catch(() => {});
    for (const event of ["pause", "play", "playing", "emptied"]) {
      this.#video.addEventListener(event, () => this.#paused());
    }
  }

  /** The video is on: no card. */
  live() {
    if (this.#stage.dataset.view === "live") return;
    this.#stage.dataset.view = "live";
    this.#paused();
  }

  /**
   * Show a card instead of live video. `view` is "empty", "connecting" or "lost";
   * `action` is {text, run} of its button, `camera` offers this device's camera.
   */
  card(view, title, text, { action = null, camera = false } = {}) {
    this.#stage.dataset.view = view;
    set($("card-title"), title);
    set($("card-text"), text);
    $("card-spinner").hidden = view === "empty";
    $("card-action").hidden = action === null;
    $("card-camera").hidden = !camera;
    if (action !== null) set($("card-action"), action.text);
    this.#action = action?.run ?? (() => {});
    this.#paused();
  }

  /** Say something that went wrong, or why nothing happens; null takes it away. */
  banner(sentence, { stay = false } = {}) {
    clearTimeout(this.#bannerTimer);
    const banner = $("banner");
    banner.hidden = sentence === null;
    if (sentence === null) return;
    set(banner, sentence);
    if (!stay) this.#bannerTimer = setTimeout(() => this.banner(null), BANNER_MS);
  }

  /** What a click does now; it fades by itself. */
  hint(sentence) {
    const hint = $("hint");
    if (hint.textContent === sentence) return;
    hint.hidden = true;
    set(hint, sentence);
    requestAnimationFrame(() => (hint.hidden = false));
  }

  /** The rubber band between two corners in CSS pixels of the glass; null hides it. */
  band(rect) {
    const band = $("band");
    band.hidden = rect === null;
    if (rect === null) return;
    for (const [name, value] of Object.entries(rect)) band.style.setProperty(`--${name}`, `${value}px`);
  }

  #paused() {
    const waits = this.#video.paused && this.#video.srcObject !== null;
    $("play").hidden = !(waits && this.#stage.dataset.view === "live");
  }
}

/** Tell people who hear the page. */
export function announce(sentence) {
  set($("announce"), sentence);
}
