/** Publishing from this page: one camera or screen at a time, kept up until it is stopped. */

import { openCamera, openScreen } from "./camera.js";
import { replaceTrack, streamId, whipPublisher } from "./whip.js";
import { streamUrl } from "./view.js";

/**
 * `onChange()` is called whenever something here changed: `id` (of the stream, null when nothing is
 * published), `kind` ("camera" or "screen"), `state` (of the connection) and `error` (the last one).
 */
export class Publisher {
  id = null;
  kind = null;
  error = null;
  #track = null;
  #peer = null;
  #onChange;
  #started = Promise.resolve();
  #begun = () => {};

  constructor(onChange) {
    this.#onChange = onChange;
  }

  get state() {
    return this.#peer?.state ?? "closed";
  }

  get deviceId() {
    return this.#track?.getSettings().deviceId ?? null;
  }

  /** Open a camera and begin to publish it; the stream's id. Rejects as getUserMedia does. */
  async camera(choice = {}) {
    try {
      return await this.#publish("camera", await openCamera(choice));
    } catch (error) {
      if (error.name !== "NotReadableError" || this.kind !== "camera") throw error;
    }
    this.#track.stop(); // phones open one camera at a time
    return this.#publish("camera", await openCamera(choice));
  }

  /** The same with a screen; rejects as getDisplayMedia does. */
  async screen() {
    return this.#publish("screen", await openScreen());
  }

  /** Resolves when the server has the stream, or the first try to publish it failed. */
  get started() {
    return this.#started;
  }

  retryNow() {
    this.#peer?.retryNow();
  }

  /** The server does not know the stream: publish it again, whatever the connection says. */
  renew() {
    if (this.state === "live") this.#peer.restart();
  }

  stop() {
    this.#peer?.close();
    this.#track?.stop();
    this.#begun();
    this.#peer = this.#track = this.id = this.kind = this.error = null;
    this.#onChange();
  }

  async #publish(kind, track) {
    if (this.kind === kind) await this.#exchange(track);
    else this.#begin(kind, track);
    track.addEventListener("ended", () => track === this.#track && this.stop());
    return this.id;
  }

  #begin(kind, track) {
    this.stop();
    this.kind = kind;
    this.#track = track;
    this.id = streamId(kind);
    this.#started = new Promise((resolve) => (this.#begun = resolve));
    this.#peer = whipPublisher(`${streamUrl(this.id)}/whip`, {
      track: () => this.#track,
      onState: (state, { error = null }) => {
        this.error = error;
        if (state !== "connecting") this.#begun();
        this.#onChange();
      },
    });
    this.#peer.open();
  }

  /** The same stream goes on with another camera. */
  async #exchange(track) {
    const before = this.#track;
    this.#track = track;
    await replaceTrack(this.#peer, track);
    before.stop();
    this.#onChange();
  }
}
