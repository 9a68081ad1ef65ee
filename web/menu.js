/** The menu of streams and of this device's cameras. */

import { canShareScreen, listCameras } from "./camera.js";
import { icon, set } from "./objects.js";

const $ = (id) => document.getElementById(id);
const OFTEN_MS = 2000;
const SELDOM_MS = 10000;

/** Fetch the server's streams; rejects when the server does not answer. */
export async function fetchStreams() {
  const url = new URL("api/v1/streams", document.baseURI);
  const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  return response.json();
}

/**
 * Keeps the list of streams fresh. `onStreams(streams)` gets every list, null when the server is
 * away; `onPick(id)`, `onCamera(choice)` and `onScreen()` what the person chose.
 */
export class SourceMenu {
  #on;
  #popover = $("sources");
  #timer = null;
  #streams = [];
  #current = null;
  #own = { id: null };
  /** Ask often: something is not as it should be, and the list may tell when it is again. */
  urgent = false;

  constructor(handlers) {
    this.#on = handlers;
    this.#popover.addEventListener("toggle", (event) => this.#toggled(event.newState === "open"));
    this.refresh();
  }

  /** Tell of the stream on the stage, and of the stream published from here: {id, kind}. */
  show(current, own) {
    this.#current = current;
    this.#own = own;
    this.#renderStreams();
  }

  async refresh() {
    clearTimeout(this.#timer);
    try {
      this.#streams = await fetchStreams();
      this.#on.onStreams(this.#streams);
    } catch {
      this.#on.onStreams(null);
    }
    this.#renderStreams();
    const often = this.urgent || this.#current === null || this.#popover.matches(":popover-open");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), often ? OFTEN_MS : SELDOM_MS);
  }

  #toggled(open) {
    $("source-button").setAttribute("aria-expanded", String(open));
    if (!open) return;
    this.refresh();
    this.#renderDevices(this.#on.deviceId());
  }

  #renderStreams() {
    const current = this.#streams.find((stream) => stream.id === this.#current);
    set($("source-name"), this.#name(this.#current) ?? "Choose a stream");
    $("source-dot").dataset.state = current?.state ?? "none";
    $("source-none").hidden = this.#streams.length > 0;
    renderMenu($("source-list"), this.#streams.map((stream) => ({
      title: this.#name(stream.id),
      text: describe(stream),
      state: stream.state,
      current: stream.id === this.#current,
      run: () => this.#pick(() => this.#on.onPick(stream.id)),
    })));
  }

  #name(id) {
    return id !== null && id === this.#own.id ? `My ${this.#own.kind}` : id;
  }

  async #renderDevices(deviceId) {
    const cameras = await listCameras();
    const named = cameras.filter((camera) => camera.label);
    const choices = named.length > 0 ? named.map((camera) => this.#camera(camera, deviceId)) : this.#unnamed();
    if (canShareScreen()) {
      choices.push({ title: "Share a screen", text: "", icon: "i-screen", run: () => this.#pick(() => this.#on.onScreen()) });
    }
    renderMenu($("device-list"), choices);
  }

  #camera({ label, deviceId }, current) {
    const run = () => this.#pick(() => this.#on.onCamera({ deviceId }));
    return { title: label, text: "", icon: "i-camera", current: deviceId === current, run };
  }

  /** Before the person allowed the camera its name is secret; phones have two sides. */
  #unnamed() {
    const one = (title, choice) => ({ title, text: "", icon: "i-camera", run: () => this.#pick(() => this.#on.onCamera(choice)) });
    if (!matchMedia("(pointer: coarse)").matches) return [one("Use my camera", {})];
    return [one("Back camera", { facing: "environment" }), one("Front camera", { facing: "user" })];
  }

  #pick(run) {
    this.#popover.hidePopover();
    run();
  }
}

/** A stream in half a line: size, rate, who watches. */
function describe({ size, fps, viewers, objects, state }) {
  const parts = state === "live" ? [] : [state];
  if (size) parts.push(`${size[1]}×${size[0]}`);
  if (fps) parts.push(`${Math.round(fps)} fps`);
  if (viewers) parts.push(viewers === 1 ? "1 viewer" : `${viewers} viewers`);
  if (objects) parts.push(objects === 1 ? "1 object" : `${objects} objects`);
  return parts.join(" · ");
}

/** Fill a list with buttons, keeping those whose content is the same (focus stays where it is). */
function renderMenu(list, items) {
  while (list.children.length > items.length) list.lastElementChild.remove();
  items.forEach((item, place) => {
    const button = list.children[place]?.firstElementChild ?? menuButton(list);
    const [lead, title, text] = button.children;
    lead.dataset.state = item.state ?? "";
    if (item.icon && lead.dataset.icon !== item.icon) lead.replaceChildren(icon(item.icon));
    lead.dataset.icon = item.icon ?? "";
    lead.className = item.icon ? "menu-icon" : "dot";
    set(title, item.title);
    set(text, item.text);
    button.toggleAttribute("aria-current", Boolean(item.current));
    button.onclick = item.run;
  });
}

function menuButton(list) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "menu-button";
  for (const name of ["dot", "menu-title", "menu-text"]) {
    const part = document.createElement("span");
    part.className = name;
    button.append(part);
  }
  const item = document.createElement("li");
  item.append(button);
  list.append(item);
  return button;
}
