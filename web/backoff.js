/** Waiting before trying again: longer after each failure, never in step with other viewers. */

const FIRST_MS = 500;
const LONGEST_MS = 8000;
const JITTER = 0.2;

/** Milliseconds to wait before retry number `attempt` (from 0): 0.5 s doubling to 8 s, ±20 %. */
export function backoff(attempt, random = Math.random) {
  const wait = Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt);
  return wait * (1 - JITTER + 2 * JITTER * random());
}

/** One task that is tried again and again, at most one try waiting at any time. */
export class Retry {
  #run;
  #random;
  #attempt = 0;
  #timer = null;

  constructor(run, random = Math.random) {
    this.#run = run;
    this.#random = random;
  }

  get waiting() {
    return this.#timer !== null;
  }

  /** Run the task after the next wait (at least `leastMs`); returns that wait in ms. */
  later(leastMs = 0) {
    this.cancel();
    const wait = Math.max(leastMs, backoff(this.#attempt++, this.#random));
    this.#timer = setTimeout(() => this.now(), wait);
    return wait;
  }

  /** Run the task now if it was waiting. */
  now() {
    if (!this.waiting) return;
    this.cancel();
    this.#run();
  }

  /** Forget past failures. */
  succeeded() {
    this.#attempt = 0;
  }

  cancel() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }
}
