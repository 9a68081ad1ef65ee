/** From gestures to prompts: which object a click is for, and what became of it. */

import { promptAdd, promptUndo } from "./messages.js";

const ANSWER_WITHIN_MS = 30000;
const HELD = 8;

/**
 * Sends prompts and follows them to their answer.
 *
 * `send(message)` returns whether it went out; `onSelect(object)` is told of a new selection.
 * While a new object's first prompt is under way, later clicks wait for its id.
 */
export class Prompts {
  #send;
  #onSelect;
  #session = Math.random().toString(36).slice(2, 7);
  #count = 0;
  #selected = null;
  #waiting = new Map();
  #making = null;
  #held = [];

  constructor({ send, onSelect }) {
    this.#send = send;
    this.#onSelect = onSelect;
  }

  get selected() {
    return this.#selected;
  }

  /** Is a new object's first prompt under way? */
  get making() {
    return this.#making !== null;
  }

  /** Clicks are for this object from now on; null means for a new one. */
  select(object) {
    this.#letGo("Another object was selected first.");
    this.#making = null;
    if (this.#selected === object) return;
    this.#selected = object;
    this.#onSelect(object);
  }

  /** Prompt with {points, labels} or {box}, made on the frame `at`; `marker` tells the person. */
  add(what, at, marker) {
    if (what.labels?.[0] === 0 && this.#selected === null && !this.making) {
      marker.refuse("Select an object first: a cut takes away from it.");
    } else if (!this.making) {
      this.#dispatch(what, at, marker);
    } else if (this.#held.length < HELD) {
      this.#held.push([what, at, marker]);
    } else {
      marker.refuse("Wait for the new object to appear first.");
    }
  }

  /** Take back the selected object's last prompt. */
  undo() {
    return this.#selected !== null && this.#send(promptUndo(this.#selected));
  }

  /** The server applied a prompt; `colour` is a function of the object id. */
  acknowledged({ id, object }, colour) {
    const entry = this.#finish(id);
    if (entry === null) return;
    entry.marker.settle(colour(object));
    if (this.#making !== id) return;
    this.#making = null;
    this.#selected = object;
    this.#onSelect(object);
    for (const held of this.#held.splice(0)) this.#dispatch(...held);
  }

  /** The server refused a prompt; true when it was one of ours. */
  refused({ id, message }) {
    const entry = this.#finish(id);
    if (entry === null) return false;
    entry.marker.refuse(message);
    if (this.#making === id) this.#giveUpMaking("The object was not made.");
    return true;
  }

  /** The control socket is gone: nothing under way will be answered. */
  lost() {
    for (const id of [...this.#waiting.keys()]) {
      this.refused({ id, message: "The connection was lost before the answer came." });
    }
    this.#giveUpMaking("The connection was lost.");
  }

  #dispatch(what, at, marker) {
    const id = `${this.#session}-${++this.#count}`;
    if (!this.#send(promptAdd({ id, object: this.#selected, at, ...what }))) {
      marker.refuse("Not connected to the server: try again in a moment.");
      return;
    }
    const timer = setTimeout(() => this.refused({ id, message: "The server did not answer." }), ANSWER_WITHIN_MS);
    this.#waiting.set(id, { marker, timer });
    if (this.#selected === null) this.#making = id;
  }

  #finish(id) {
    const entry = this.#waiting.get(id) ?? null;
    if (entry !== null) clearTimeout(entry.timer);
    this.#waiting.delete(id);
    return entry;
  }

  #giveUpMaking(sentence) {
    this.#making = null;
    this.#letGo(sentence);
  }

  #letGo(sentence) {
    for (const [, , marker] of this.#held.splice(0)) marker.refuse(sentence);
  }
}
