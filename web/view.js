/** One viewed stream: its video by WHEP and its control socket, each kept up. */

import { Control } from "./control.js";
import { FrameRing, drawShown, frameReference, reportsFrames, seenFrame, watchFrames } from "./frames.js";
import { whepViewer } from "./whep.js";

/** A video whose server was away is given this long to go on by itself. */
const RESUME_WITHIN_MS = 1200;
const HIDDEN_FOR_MS = 60000;
/** The server shows a picture that stands still about once a second. */
const STILL_WITHIN_MS = 2000;

/**
 * Shows stream `id` in `video`. `on.message(message)` gets the control socket's messages;
 * `on.state({control, media, error})` any change of the two connections; `on.frame()` each frame.
 */
export class StreamView {
  id;
  #video;
  #on;
  #control;
  #viewer;
  #ring = new FrameRing();
  #stopWatching;
  #still = null;
  #error = null;
  #lastFrame = 0;
  #timer = null;
  #visibility = () => this.#visibilityChanged();

  constructor(id, video, on) {
    this.id = id;
    this.#video = video;
    this.#on = on;
    const base = streamUrl(id);
    this.#control = new Control(socketUrl(`${base}/control`), {
      onMessage: (message) => on.message(message),
      onState: (state) => this.#controlChanged(state),
      seen: (rtt) => seenFrame(this.#ring.shownAt(performance.now()), { now: performance.now(), rtt }),
    });
    this.#viewer = whepViewer(`${base}/whep`, {
      onMedia: (media) => this.#attach(media),
      onState: (state, detail) => this.#mediaChanged(state, detail),
    });
    this.#stopWatching = watchFrames(video, (metadata) => this.#presented(metadata));
  }

  open() {
    document.addEventListener("visibilitychange", this.#visibility);
    this.#control.open();
    this.#viewer.open();
  }

  close() {
    document.removeEventListener("visibilitychange", this.#visibility);
    clearTimeout(this.#timer);
    this.#stopWatching();
    this.#control.close();
    this.#viewer.close();
    this.#video.srcObject = null;
  }

  send(message) {
    return this.#control.send(message);
  }

  retryNow() {
    this.#control.retryNow();
    this.#viewer.retryNow();
  }

  /** The `at` of a prompt made at an event's timeStamp, told when the browser's reports are in. */
  async frameAt(time) {
    const record = await this.#ring.settledAt(time);
    return frameReference(record, { time, now: performance.now(), rtt: this.#control.rtt });
  }

  /**
   * Call `draw(picture, width, height)` once the next frame is on display, and tell the browser's
   * record of what was drawn; null when no frame comes or the browser does not report frames.
   */
  still(draw) {
    if (!reportsFrames(this.#video)) return Promise.resolve(null);
    return new Promise((tell) => {
      const timer = setTimeout(() => tell(null), STILL_WITHIN_MS);
      this.#still = (record) => {
        clearTimeout(timer);
        tell(drawShown(this.#video, record, draw));
      };
    });
  }

  #attach(media) {
    this.#ring.clear();
    this.#video.srcObject = media;
    this.#video.play().catch(() => {});
  }

  #presented(metadata) {
    const still = this.#still;
    this.#still = null;
    still?.(metadata);
    if (metadata !== null) this.#ring.push(metadata);
    this.#lastFrame = performance.now();
    this.#on.frame();
  }

  #controlChanged(state) {
    if (state === "open") this.#viewer.retryNow();
    if (state === "open" || state === "waiting") this.#expectFrames();
    this.#changed();
  }

  #mediaChanged(state, { error = null }) {
    if (state === "live") this.#control.retryNow();
    if (state !== "connecting") this.#error = error;
    this.#changed();
  }

  #changed() {
    this.#on.state({ control: this.#control.state, media: this.#viewer.state, error: this.#error });
  }

  /** The server went or came back, and it may be a new one: renew the media if frames stopped. */
  #expectFrames() {
    const before = performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const stalled = this.#viewer.state === "live" && this.#lastFrame < before;
      if (stalled && !document.hidden) this.#viewer.restart();
    }, RESUME_WITHIN_MS);
  }

  /** A page that nobody sees for long leaves its place to other viewers. */
  #visibilityChanged() {
    clearTimeout(this.#timer);
    if (document.hidden) {
      this.#timer = setTimeout(() => this.#viewer.close(), HIDDEN_FOR_MS);
      return;
    }
    if (this.#viewer.state === "closed") this.#viewer.open();
    else this.#expectFrames();
    this.#control.retryNow();
    this.#video.play().catch(() => {});
  }
}

/** The address of a stream's resources. */
export const streamUrl = (id) => new URL(`api/v1/streams/${id}`, document.baseURI).href;

const socketUrl = (url) => url.replace(/^http/, "ws");
