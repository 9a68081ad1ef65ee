/** Which frame a person saw: a ring of what the browser has presented. */

const KEPT = 32;
/** A report of a newer frame is waited for this long: two frames of a slow camera; guess. */
const SETTLED_WITHIN_MS = 120;
/** A frame older than this says nothing about how long frames take now; guess. */
const SEEN_WITHIN_MS = 2000;
/** Network, decoder and display of a frame whose way here is unknown; guess. */
const UNSEEN_MS = 60;

/** The last frames that requestVideoFrameCallback reported, oldest first. */
export class FrameRing {
  #records = [];
  #waiting = [];

  /** Add the metadata of a presented frame. */
  push(metadata) {
    this.#records.push(metadata);
    if (this.#records.length > KEPT) this.#records.shift();
    const settled = ({ time }) => metadata.expectedDisplayTime > time;
    const [done, rest] = [this.#waiting.filter(settled), this.#waiting.filter((one) => !settled(one))];
    this.#waiting = rest;
    for (const { settle } of done) settle();
  }

  get newest() {
    return this.#records.at(-1) ?? null;
  }

  get length() {
    return this.#records.length;
  }

  /** The frame on display at `time` (an event's timeStamp in ms); null when none was yet. */
  shownAt(time) {
    return this.#records.findLast((record) => record.expectedDisplayTime <= time) ?? null;
  }

  /**
   * The same, told when no older report can follow. A busy browser reports frames late: only when
   * a frame that came on display after `time` is known, every frame before it is. A browser that
   * reports no frames, or no timestamps of them, could prove nothing and is not waited for.
   */
  async settledAt(time) {
    const proves = this.newest?.rtpTimestamp !== undefined;
    if (proves && this.newest.expectedDisplayTime <= time) {
      await new Promise((settle) => {
        this.#waiting.push({ time, settle });
        setTimeout(settle, SETTLED_WITHIN_MS);
      });
    }
    return this.shownAt(time);
  }

  clear() {
    this.#records = [];
  }
}

/**
 * The `at` of a prompt made on the frame of `record` at `time`: its RTP timestamp where the browser
 * tells it, else an estimate of its age `now`, with `rtt` the round trip to the server in ms where
 * known.
 */
export function frameReference(record, { time, now = time, rtt = null }) {
  if (record?.rtpTimestamp !== undefined) {
    return { rtp: record.rtpTimestamp, w: record.width, h: record.height };
  }
  const toServer = (rtt ?? 0) / 2;
  if (record === null) return { age_ms: Math.round(now - time + UNSEEN_MS + toServer) };
  const shownFor = Math.max(0, now - record.expectedDisplayTime);
  return { age_ms: Math.round(shownFor + wayHere(record) + toServer) };
}

/** What a ping says of the newest frame on display at `now`; null where its timestamp is not told. */
export function seenFrame(record, { now, rtt = null }) {
  const ago = now - (record?.expectedDisplayTime ?? NaN);
  if (record?.rtpTimestamp === undefined || !(ago >= 0 && ago < SEEN_WITHIN_MS)) return null;
  return { rtp: record.rtpTimestamp, ago_ms: ago, rtt_ms: Math.min(rtt ?? 0, 10000) };
}

/** Milliseconds from a frame's arrival in the browser to its display. */
function wayHere(record) {
  if (record.receiveTime === undefined) return UNSEEN_MS;
  return Math.max(0, record.expectedDisplayTime - record.receiveTime);
}

export const reportsFrames = (video) => "requestVideoFrameCallback" in video;

/**
 * Call `draw(picture, width, height)` with what `video` shows now, and return the browser's record of
 * it: `reported`, the last report, unless the picture tells that a busy browser is past it already.
 */
export function drawShown(video, reported, draw) {
  const picture = "VideoFrame" in globalThis ? new VideoFrame(video) : null;
  const rtpTimestamp = picture?.metadata?.().rtpTimestamp; // Chromium tells it since 145
  if (rtpTimestamp === undefined) {
    draw(video, video.videoWidth, video.videoHeight);
    picture?.close();
    return reported;
  }
  const { displayWidth: width, displayHeight: height } = picture;
  draw(picture, width, height);
  picture.close();
  return { ...reported, rtpTimestamp, width, height };
}

/**
 * Call `onFrame(metadata)` for every frame `video` presents; where the browser does not report
 * them, with null now and then while the video goes on. Returns a stop.
 */
export function watchFrames(video, onFrame) {
  if (!reportsFrames(video)) {
    const sign = () => onFrame(null);
    video.addEventListener("timeupdate", sign);
    return () => video.removeEventListener("timeupdate", sign);
  }
  let handle = 0;
  const next = (_, metadata) => {
    handle = video.requestVideoFrameCallback(next);
    onFrame(metadata);
  };
  handle = video.requestVideoFrameCallback(next);
  return () => video.cancelVideoFrameCallback(handle);
}
