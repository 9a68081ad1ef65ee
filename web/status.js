/** The status line: how the stream does, once a second. */

import { set } from "./objects.js";

const $ = (id) => document.getElementById(id);

/** Key, label, explanation, and how the value reads. */
const ITEMS = [
  ["model", "Model", "The model that tracks", (stats) => stats.model || "loading"],
  ["device", "Device", "Where the model runs", (stats) => stats.device],
  ["fps_in", "In", "Frames a second from the source", (stats) => fps(stats.fps_in)],
  ["fps_tracker", "Tracker", "Frames a second through the model", (stats) => fps(stats.fps_tracker)],
  ["fps_out", "Out", "Frames a second sent to viewers", (stats) => fps(stats.fps_out)],
  ["step_ms", "Step", "Time of one step of the model", (stats) => ms(stats.step_ms)],
  ["age_ms", "Overlay", "From a frame's arrival at the server to its overlay", (stats) => ms(stats.age_ms)],
  ["encode_ms", "Encoder", "What encoding a frame takes", (stats) => ms(stats.encode_ms)],
  ["mask_age_ms", "Masks", "Age of the frame whose masks are shown", (stats) => masks(stats)],
  ["glass_ms", "Latency", "From a frame's arrival at the server to this display", (stats) => ms(stats.glass_ms)],
  ["viewers", "Viewers", "Pages that view this stream", (stats) => count(stats.viewers)],
];

const fps = (value) => (value == null ? "–" : `${value.toFixed(1)} fps`);
const ms = (value) => (value == null ? "–" : `${Math.round(value)} ms`);
const masks = ({ mask_age_ms, align }) =>
  mask_age_ms == null ? "–" : `${ms(mask_age_ms)}${align === "predict" ? ", carried" : ""}`;
const count = (value) => (value == null ? "–" : String(value));

export class StatusLine {
  #stats = {};
  #values = new Map();

  constructor() {
    for (const [key, label, explanation] of ITEMS) this.#add(key, label, explanation);
    this.clear();
  }

  /** Show newer numbers; what they lack stays as it was. */
  show(numbers) {
    this.#stats = { ...this.#stats, ...numbers };
    $("stats").hidden = Object.keys(this.#stats).length === 0;
    for (const [key, , , text] of ITEMS) set(this.#values.get(key), text(this.#stats) || "–");
  }

  clear() {
    this.#stats = {};
    this.show({});
  }

  /** Show the state of the connection: "live", "connecting", "lost" or "none". */
  link(state, sentence) {
    $("link").firstElementChild.dataset.state = state;
    set($("link-text"), sentence);
  }

  #add(key, label, explanation) {
    const item = document.createElement("div");
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    item.title = explanation;
    item.dataset.stat = key;
    term.textContent = label;
    value.textContent = "–";
    item.append(term, value);
    $("stats").append(item);
    this.#values.set(key, value);
  }
}
