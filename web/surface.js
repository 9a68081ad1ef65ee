/** The picture on the stage, live or frozen: from places on the page to places in it, and back. */

import { toElement, toFrame } from "./geometry.js";

/** `video` shows the live picture, `still` (a canvas over it) the frozen one while it is not hidden. */
export class Surface {
  #video;
  #still;
  #mirror = false;

  constructor(video, still) {
    this.#video = video;
    this.#still = still;
  }

  mirror(on) {
    this.#mirror = on;
    for (const element of [this.#video, this.#still]) element.toggleAttribute("data-mirror", on);
  }

  /** Size of the frame that is seen, in its pixels; null before the first. */
  get size() {
    const { videoWidth, videoHeight } = this.#video;
    if (!this.#still.hidden) return { width: this.#still.width, height: this.#still.height };
    return videoWidth > 0 ? { width: videoWidth, height: videoHeight } : null;
  }

  /** The place in the frame under a page position, as {x, y, inside}; null before the first frame. */
  inFrame(clientX, clientY) {
    if (this.size === null) return null;
    return toFrame(clientX, clientY, this.#video.parentElement.getBoundingClientRect(), this.size, { mirror: this.#mirror });
  }

  /** A normalised place of the frame in CSS pixels from the stage's corner. */
  onStage({ x, y }) {
    const box = this.#video.parentElement.getBoundingClientRect();
    return toElement(x, y, box, this.size ?? box, { mirror: this.#mirror });
  }
}
