/** Where the person clicked, at once: a mark that waits for the server's answer. */

/** The mark waits this long to be told where its object is now. */
const PLACED_WITHIN_MS = 400;
/** The glide onto the object and the fade after it; as in parts.css. */
const GONE_MS = 900;
const REFUSED_MS = 4500;

/**
 * The marks on the glass over the picture, at normalised places of the frame. `onStage(place)` tells
 * where that is in CSS pixels from its corner; `where(object)` where an object is: {x, y, frame}, its
 * middle on the frame told last, or null.
 */
export class Markers {
  #layer;
  #onStage;
  #where;
  #all = new Set();
  #kept = false;

  constructor(layer, { onStage, where }) {
    this.#layer = layer;
    this.#onStage = onStage;
    this.#where = where;
  }

  /** Marks stay where they were made, on a picture that stands still, until they are cleared. */
  keep(on) {
    this.#kept = on;
    for (const marker of this.#all) if (!on) marker.goOn();
  }

  /** Put a waiting mark; `kind` is "add", "cut" or "box". */
  place(place, kind) {
    const element = document.createElement("span");
    element.className = "marker";
    element.dataset.kind = kind;
    this.#layer.append(element);
    const marker = new Marker(element, place, this.#kept, {
      onStage: (at) => this.#onStage(at),
      onSettled: () => this.#settled(marker),
      onGone: () => this.#all.delete(marker),
    });
    this.#all.add(marker);
    element.dataset.side = marker.x > this.#layer.clientWidth / 2 ? "left" : "right";
    return marker;
  }

  /** The objects were told anew: marks that were taken move onto theirs. */
  moved() {
    for (const marker of this.#all) this.#glide(marker);
  }

  /** The stage has another size: marks keep their places in the picture. */
  resized() {
    for (const marker of this.#all) marker.moveTo(marker.place);
  }

  clear() {
    this.#all.clear();
    this.#layer.replaceChildren();
  }

  #settled(marker) {
    this.#glide(marker);
    setTimeout(() => marker.leave(), PLACED_WITHIN_MS);
  }

  #glide(marker) {
    if (marker.state !== "settled") return;
    const place = this.#where(marker.object);
    if (place === null || place.frame < marker.since) return;
    marker.moveTo(place);
    marker.leave();
  }
}

class Marker {
  object = null;
  /** The frame up to which the object was followed when the prompt was applied. */
  since = 0;
  /** Where in the frame it is, normalised. */
  place;
  x = 0;
  #element;
  #kept;
  #on;

  constructor(element, place, kept, on) {
    this.#element = element;
    this.#kept = kept;
    this.#on = on;
    this.#element.dataset.state = "waiting";
    this.moveTo(place);
  }

  /** "waiting", "settled" or, on a frozen picture, "taken"; "leaving"; "refused". */
  get state() {
    return this.#element.dataset.state;
  }

  moveTo(place) {
    this.place = place;
    const { x, y } = this.#on.onStage(place);
    this.x = x;
    this.#element.style.setProperty("--x", `${x}px`);
    this.#element.style.setProperty("--y", `${y}px`);
  }

  /** The prompt was applied: take the object's colour; on a live picture move onto it and go. */
  settle(colour, object, since = 0) {
    this.object = object;
    this.since = since;
    this.#element.style.setProperty("--chip", colour);
    this.#element.dataset.state = this.#kept ? "taken" : "settled";
    if (!this.#kept) this.#on.onSettled();
  }

  /** The picture it was made on is live again. */
  goOn() {
    this.#kept = false;
    if (this.state === "taken") this.#goAfter(0);
  }

  leave() {
    if (this.state !== "settled") return;
    this.#element.dataset.state = "leaving";
    this.#goAfter(GONE_MS);
  }

  /** The prompt was refused: say why where it was made. */
  refuse(sentence) {
    const text = document.createElement("span");
    text.className = "marker-text";
    text.setAttribute("role", "alert");
    text.textContent = sentence;
    this.#element.append(text);
    this.#element.dataset.state = "refused";
    this.#goAfter(REFUSED_MS);
  }

  #goAfter(ms) {
    setTimeout(() => {
      this.#element.remove();
      this.#on.onGone();
    }, ms);
  }
}
