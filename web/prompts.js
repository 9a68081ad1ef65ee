/** From gestures to prompts: which object a click is for, and what became of it. */

import { promptAdd, promptUndo } from "./messages.js";

const ANSWER_WITHIN_MS = 30000;
const HELD = 8;
const LOST = "The connection was lost before the answer came.";

/**
 * Sends prompts and follows them to their answer.
 *
 * `send(message)` returns whether it went out; `onSelect(object)` is told of a new selection.
 * What a click is for is settled when it is made, by `aim`; its frame may be known only later.
 * While a new object's first prompt is under way, later clicks on it wait for its id.
 */
export class Prompts {
  #send;
  #onSelect;
  #session = Math.random().toString(36).slice(2, 7);
  #count = 0;
  #connection = {};
  #target = new Target();
  #waiting = new Map();
  #watching = [];

  constructor({ send, onSelect }) {
    this.#send = send;
    this.#onSelect = onSelect;
  }

  get selected() {
    return this.#target.object;
  }

  /** Is a new object's first prompt under way? */
  get making() {
    return this.#target.making;
  }

  /** Clicks are for this object from now on; null means for a new one. */
  select(object) {
    const before = this.#target;
    if (object !== null && before.object === object) return;
    if (object === null && before.object === null && !before.making) return;
    this.#target = new Target(object);
    if (before.object !== object) this.#onSelect(object);
  }

  /**
   * A prompt {points, labels} or {box} is made now; `marker` tells the person what becomes of it.
   * Returns a function that takes the frame it was made on, and sends it.
   */
  aim(what, marker) {
    const target = this.#target;
    const connection = this.#connection;
    const first = target.object === null && !target.making;
    const refusal = this.#refusal(what, target);
    if (refusal !== null) {
      marker.refuse(refusal);
      return () => {};
    }
    target.making ||= first;
    target.aimed += 1;
    return (at) => {
      target.aimed -= 1;
      const prompt = { what, at, since: performance.now(), marker, target };
      if (connection !== this.#connection) marker.refuse(LOST);
      else if (target.failed !== null) marker.refuse(target.failed);
      else if (first || target.object !== null) this.#dispatch(prompt, first);
      else target.held.push(prompt);
    };
  }

  /** Told when no prompt waits for its answer. */
  async answered() {
    while (this.#waiting.size > 0) await new Promise((tell) => this.#watching.push(tell));
  }

  /** Take back the selected object's last prompt. */
  undo() {
    return this.selected !== null && this.#send(promptUndo(this.selected));
  }

  /** The server applied a prompt; `colour` is a function of the object id. */
  acknowledged({ id, object, applied_at }, colour) {
    const entry = this.#finish(id);
    if (entry === null) return;
    const { marker, target, first } = entry;
    marker.settle(colour(object), object, applied_at);
    if (!first) return;
    target.object = object;
    target.making = false;
    if (this.#target === target) this.#onSelect(object);
    for (const held of target.held.splice(0)) this.#dispatch(held, false);
  }

  /** The server refused a prompt; true when it was one of ours. */
  refused({ id, message }) {
    const entry = this.#finish(id);
    if (entry === null) return false;
    entry.marker.refuse(message);
    if (entry.first) this.#fail(entry.target, "The object was not made.");
    return true;
  }

  /** The control socket is gone: nothing under way will be answered. */
  lost() {
    this.#connection = {};
    for (const id of [...this.#waiting.keys()]) this.refused({ id, message: LOST });
    if (this.making) this.#fail(this.#target, "The connection was lost.");
  }

  #refusal({ labels }, { object, making, held, aimed }) {
    if (object !== null) return null;
    if (!making) return labels?.[0] === 0 ? "Select an object first: a cut takes away from it." : null;
    return held.length + aimed >= HELD ? "Wait for the new object to appear first." : null;
  }

  #dispatch({ what, at, since, marker, target }, first) {
    const id = `${this.#session}-${++this.#count}`;
    const message = promptAdd({ id, object: target.object, at: aged(at, since), ...what });
    if (!this.#send(message)) {
      marker.refuse("Not connected to the server: try again in a moment.");
      if (first) this.#fail(target, "The object was not made.");
      return;
    }
    const timer = setTimeout(() => this.refused({ id, message: "The server did not answer." }), ANSWER_WITHIN_MS);
    this.#waiting.set(id, { marker, timer, target, first });
  }

  #finish(id) {
    const entry = this.#waiting.get(id) ?? null;
    if (entry !== null) clearTimeout(entry.timer);
    this.#waiting.delete(id);
    for (const tell of this.#watching.splice(0)) tell();
    return entry;
  }

  /** The new object was not made: what waits for it is refused, and clicks begin anew. */
  #fail(target, sentence) {
    target.failed = sentence;
    for (const { marker } of target.held.splice(0)) marker.refuse(sentence);
    if (this.#target === target) this.#target = new Target();
  }
}

/** What clicks are for: an object, or one that is to be made by the first of them. */
class Target {
  making = false;
  /** Why it will never be made. */
  failed = null;
  /** Clicks whose frame is not known yet. */
  aimed = 0;
  /** Clicks that wait for the object's id. */
  held = [];

  constructor(object = null) {
    this.object = object;
  }
}

/** An age grows while its prompt waits. */
function aged(at, since) {
  if (at.age_ms === undefined) return at;
  return { ...at, age_ms: at.age_ms + Math.round(performance.now() - since) };
}
