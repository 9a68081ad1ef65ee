import assert from "node:assert/strict";
import test from "node:test";

import { FrameRing, drawShown, frameReference, seenFrame, watchFrames } from "../../web/frames.js";

const record = (expectedDisplayTime, more = {}) => ({ expectedDisplayTime, width: 1280, height: 720, ...more });

function ring(...times) {
  const frames = new FrameRing();
  for (const time of times) frames.push(record(time, { rtpTimestamp: time * 90 }));
  return frames;
}

test("the frame under a click is the newest that was on display by then", () => {
  assert.equal(ring(100, 133, 166).shownAt(150).expectedDisplayTime, 133);
});

test("a frame on display at the very moment counts", () => {
  assert.equal(ring(100, 133).shownAt(133).expectedDisplayTime, 133);
});

test("a frame that is still to be displayed does not count", () => {
  assert.equal(ring(200).shownAt(150), null);
});

test("a click waits for the report that proves which frame was on display", async () => {
  const frames = ring(100, 133);
  const seen = frames.settledAt(170);
  frames.push(record(166));
  frames.push(record(200));
  assert.equal((await seen).expectedDisplayTime, 166);
});

test("a click on a picture that stands still is told all the same", async () => {
  assert.equal((await ring(100, 133).settledAt(170)).expectedDisplayTime, 133);
});

test("without reports of frames a click waits for nothing", async () => {
  const time = performance.now();
  assert.equal(await new FrameRing().settledAt(time), null);
  assert.ok(performance.now() - time < 60);
});

test("without reports of frames the video's own events tell that it goes on", () => {
  const [video, seen] = [new EventTarget(), []];
  const stop = watchFrames(video, (frame) => seen.push(frame));
  video.dispatchEvent(new Event("timeupdate"));
  stop();
  video.dispatchEvent(new Event("timeupdate"));
  assert.deepEqual(seen, [null]);
});

test("reported frames are watched until it is stopped", () => {
  let report = null;
  const video = {
    requestVideoFrameCallback: (next) => (report = next) && 5,
    cancelVideoFrameCallback: () => (report = null),
  };
  const seen = [];
  const stop = watchFrames(video, (frame) => seen.push(frame));
  report(0, { rtpTimestamp: 1 });
  report(0, { rtpTimestamp: 2 });
  stop();
  assert.deepEqual([seen.length, report], [2, null]);
});

test("without timestamps a click waits for no proof: its frame is an estimate anyway", async () => {
  const frames = new FrameRing();
  frames.push(record(100));
  const time = performance.now();
  assert.equal((await frames.settledAt(time)).expectedDisplayTime, 100);
  assert.ok(performance.now() - time < 60);
});

test("the ring keeps the last 32 frames", () => {
  const frames = ring(...Array.from({ length: 50 }, (_, index) => index));
  assert.equal(frames.length, 32);
  assert.equal(frames.shownAt(17), null);
  assert.equal(frames.shownAt(18).expectedDisplayTime, 18);
});

test("a reference is the raw RTP timestamp with the size that was seen", () => {
  const at = frameReference(record(100, { rtpTimestamp: 2728575192 }), { time: 120 });
  assert.deepEqual(at, { rtp: 2728575192, w: 1280, h: 720 });
});

test("an RTP timestamp of zero is a timestamp", () => {
  assert.equal(frameReference(record(100, { rtpTimestamp: 0 }), { time: 120 }).rtp, 0);
});

test("without a timestamp the age counts the display, the way here and half the round trip", () => {
  const seen = record(100, { receiveTime: 80 });
  assert.deepEqual(frameReference(seen, { time: 130, rtt: 10 }), { age_ms: 30 + 20 + 5 });
});

test("an age counts from when it is sent, however long the press was", () => {
  const seen = record(100, { receiveTime: 80 });
  assert.deepEqual(frameReference(seen, { time: 130, now: 330 }), { age_ms: 230 + 20 });
  const unseen = frameReference(null, { time: 130 }).age_ms;
  assert.equal(frameReference(null, { time: 130, now: 330 }).age_ms, unseen + 200);
});

test("without any record the age is still an estimate", () => {
  assert.ok(frameReference(null, { time: 130 }).age_ms > 0);
});

test("a ping says which frame is on display, if that is known and recent", () => {
  const record = { rtpTimestamp: 7, expectedDisplayTime: 1000 };
  assert.deepEqual(seenFrame(record, { now: 1012.5, rtt: 3 }), { rtp: 7, ago_ms: 12.5, rtt_ms: 3 });
  assert.equal(seenFrame(record, { now: 9000 }), null);
  assert.equal(seenFrame({ expectedDisplayTime: 1000 }, { now: 1010 }), null);
  assert.equal(seenFrame(null, { now: 1010 }), null);
});

/** What drawShown draws and tells of a video of 640x360 in a browser with this `VideoFrame`. */
function drawn(VideoFrame) {
  const video = { videoWidth: 640, videoHeight: 360 };
  const reported = record(100, { rtpTimestamp: 3000 });
  const all = [];
  Object.assign(globalThis, VideoFrame && { VideoFrame });
  try {
    const told = drawShown(video, reported, (...shown) => all.push(shown));
    return { told, reported, video, shown: all[0] };
  } finally {
    delete globalThis.VideoFrame;
  }
}

test("a busy browser is past the frame it reports: the drawn picture says which it is", () => {
  let open = 0;
  class VideoFrame {
    displayWidth = 854;
    displayHeight = 480;
    constructor() { open += 1; }
    metadata() { return { rtpTimestamp: 6000 }; }
    close() { open -= 1; }
  }
  const { told, reported, shown } = drawn(VideoFrame);
  assert.deepEqual(told, { ...reported, rtpTimestamp: 6000, width: 854, height: 480 });
  assert.ok(shown[0] instanceof VideoFrame);
  assert.deepEqual([shown.slice(1), open], [[854, 480], 0]);
});

test("where pictures do not tell their timestamp the report counts", () => {
  class VideoFrame {
    close() {}
  }
  for (const kind of [undefined, VideoFrame]) {
    const { told, reported, video, shown } = drawn(kind);
    assert.equal(told, reported);
    assert.deepEqual(shown, [video, 640, 360]);
  }
});
