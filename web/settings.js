/** View settings: the stream's overlay, this page's mirror and theme. */

import { set } from "./objects.js";
import { settingsSet } from "./messages.js";

const $ = (id) => document.getElementById(id);
const STORE = "streamtrack";
/** A slider moves faster than the server takes messages. */
const SEND_EVERY_MS = 150;

/** What this browser remembers of the page; {} where storage is forbidden. */
export function remembered() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    return {};
  }
}

export function remember(changes) {
  try {
    localStorage.setItem(STORE, JSON.stringify({ ...remembered(), ...changes }));
  } catch {
    // A private window may forbid it; then nothing is remembered.
  }
}

/** The settings popover. `send(message)` reaches the stream; `onMirror(on)` the page. */
export class Settings {
  #send;
  #onMirror;
  #sending = null;

  constructor({ send, onMirror }) {
    this.#send = send;
    this.#onMirror = onMirror;
    $("settings").onsubmit = (event) => event.preventDefault();
    for (const id of ["set-fill", "set-outline", "set-labels"]) {
      $(id).oninput = () => this.#overlayChanged();
    }
    $("set-mirror").oninput = () => this.mirror($("set-mirror").checked);
    for (const button of themeButtons()) button.onclick = () => this.theme(button.dataset.theme);
    this.theme(remembered().theme ?? "system");
    this.mirror(remembered().mirror ?? false);
  }

  get mirrored() {
    return $("set-mirror").checked;
  }

  /** Show the overlay settings the server tells, unless newer ones are about to be sent. */
  show({ masks, fill_alpha, outline, labels }) {
    if (this.#sending !== null) return;
    if (fill_alpha !== undefined) $("set-fill").value = masks === false ? 0 : Math.round(100 * fill_alpha);
    if (outline !== undefined) $("set-outline").checked = outline;
    if (labels !== undefined) $("set-labels").checked = labels;
    this.#showFill();
  }

  mirror(on) {
    $("set-mirror").checked = on;
    remember({ mirror: on });
    this.#onMirror(on);
  }

  theme(name) {
    const root = document.documentElement;
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
    for (const button of themeButtons()) {
      button.setAttribute("aria-checked", String(button.dataset.theme === name));
    }
    remember({ theme: name });
  }

  #overlayChanged() {
    this.#showFill();
    this.#sending ??= setTimeout(() => {
      this.#sending = null;
      this.#send(settingsSet({ overlay: this.#overlay() }));
    }, SEND_EVERY_MS);
  }

  #overlay() {
    const fill = Number($("set-fill").value) / 100;
    return {
      masks: fill > 0,
      fill_alpha: fill,
      outline: $("set-outline").checked,
      labels: $("set-labels").checked,
    };
  }

  #showFill() {
    set($("set-fill-text"), `${$("set-fill").value} %`);
  }
}

const themeButtons = () => document.querySelectorAll("#settings [data-theme]");
