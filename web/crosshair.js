/** Pointing by keyboard: arrow keys move a crosshair over the video, Enter clicks there. */

const STEP_PX = 12;
const FINE_PX = 2;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Works while `glass` has the focus; Alt makes the steps fine, Shift-Enter is a cut.
 * `onClick({x, y, time, negative})` gets client coordinates, as a pointer's click has them.
 */
export class Crosshair {
  #glass;
  #cross;
  #onClick;
  #at = null;

  constructor(glass, cross, onClick) {
    this.#glass = glass;
    this.#cross = cross;
    this.#onClick = onClick;
    glass.addEventListener("keydown", (event) => this.#key(event));
    glass.addEventListener("blur", () => (cross.hidden = true));
    glass.addEventListener("pointerdown", () => (cross.hidden = true));
  }

  #key(event) {
    if (event.key in MOVES) this.#move(MOVES[event.key], event.altKey ? FINE_PX : STEP_PX);
    else if (event.key === "Enter" && !this.#cross.hidden) this.#click(event);
    else return;
    event.preventDefault();
  }

  #move([across, down], step) {
    const { clientWidth: width, clientHeight: height } = this.#glass;
    const { x, y } = this.#at ?? { x: width / 2, y: height / 2 };
    const within = (value, most) => Math.min(most - 1, Math.max(0, value));
    this.#at = { x: within(x + across * step, width), y: within(y + down * step, height) };
    this.#cross.style.setProperty("--x", `${this.#at.x}px`);
    this.#cross.style.setProperty("--y", `${this.#at.y}px`);
    this.#cross.hidden = false;
  }

  #click(event) {
    const { left, top } = this.#glass.getBoundingClientRect();
    const place = { x: left + this.#at.x, y: top + this.#at.y };
    this.#onClick({ ...place, time: event.timeStamp, negative: event.shiftKey });
  }
}
