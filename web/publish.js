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

  constructor(onChange) {
    this.#onChange = onChange;
    addEventListener("pagehide", () => this.stop());
  }

  get state() {
    return this.#peer?.state ?? "closed";
  }

  get deviceId() {
    return this.#track?.getSettings().deviceId ?? null;
  }

  /** Open and publish a camera; the stream's id. Rejects as getUserMedia does. */
  async camera(choice = {}) {
    return this.#publish("camera", await openCamera(choice));
  }

  /** Open and publish a screen; the stream's id. Rejects as getDisplayMedia does. */
  async screen() {
    return this.#publish("screen", await openScreen());
  }

  retryNow() {
    this.#peer?.retryNow();
  }

  stop() {
    this.#peer?.close();
    this.#track?.stop();
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
    this.#peer = whipPublisher(`${streamUrl(this.id)}/whip`, {
      track: () => this.#track,
      onState: (_, { error = null }) => {
        this.error = error;
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
