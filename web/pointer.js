/** Gestures on the video: a press is a click, a press that moves is a box, a long touch holds. */

const DRAG_PX = { mouse: 5, pen: 8, touch: 12 };
const RIGHT_BUTTON = 2;
/** As long as phones take to tell a long press from a tap. */
const HOLD_MS = 500;

/**
 * Turns pointer events of `glass` into gestures, in client coordinates:
 * `onClick({x, y, time, negative})`, `onDrag(from, to)` while a box is drawn,
 * `onBox({from, to, time})` when it is let go, `onCancel()` when it is given up,
 * `onHold()` for a finger that rests: when it returns true, the touch is no click any more.
 *
 * A click's time is the press; a box's time is the release, for it was fitted to what was shown then.
 */
export class Gestures {
  #on;
  #press = null;

  constructor(glass, handlers) {
    this.#on = handlers;
    glass.addEventListener("pointerdown", (event) => this.#down(event, glass));
    glass.addEventListener("pointermove", (event) => this.#move(event));
    glass.addEventListener("pointerup", (event) => this.#up(event));
    glass.addEventListener("pointercancel", () => this.cancel());
    glass.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  get dragging() {
    return this.#press?.dragging ?? false;
  }

  /** Give the gesture under way up. */
  cancel() {
    if (this.dragging) this.#on.onCancel();
    this.#end();
  }

  #down(event, glass) {
    if (!event.isPrimary) return this.cancel();
    if (event.button !== 0 && event.button !== RIGHT_BUTTON) return;
    this.#end();
    capture(glass, event.pointerId);
    this.#press = {
      pointer: event.pointerId,
      from: { x: event.clientX, y: event.clientY },
      time: event.timeStamp,
      negative: event.button === RIGHT_BUTTON || event.shiftKey,
      reach: DRAG_PX[event.pointerType] ?? DRAG_PX.mouse,
      dragging: false,
      hold: event.pointerType === "touch" ? setTimeout(() => this.#hold(), HOLD_MS) : null,
    };
  }

  #hold() {
    if (!this.dragging && this.#on.onHold?.()) this.#end();
  }

  #move(event) {
    const press = this.#press;
    if (press === null || press.pointer !== event.pointerId) return;
    const to = { x: event.clientX, y: event.clientY };
    const moved = Math.hypot(to.x - press.from.x, to.y - press.from.y);
    press.dragging ||= !press.negative && moved >= press.reach;
    if (press.dragging) this.#on.onDrag(press.from, to);
  }

  #up(event) {
    const press = this.#press;
    if (press === null || press.pointer !== event.pointerId) return;
    this.#end();
    const { from, time, negative } = press;
    if (!press.dragging) this.#on.onClick({ ...from, time, negative });
    else this.#on.onBox({ from, to: { x: event.clientX, y: event.clientY }, time: event.timeStamp });
  }

  #end() {
    clearTimeout(this.#press?.hold);
    this.#press = null;
  }
}

/** Keep getting a pointer's events when it leaves the element. */
function capture(element, pointer) {
  try {
    element.setPointerCapture(pointer);
  } catch {
    // The pointer is already gone, as after a very short tap.
  }
}
