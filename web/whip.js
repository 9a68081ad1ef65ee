/** Publishing a camera or a screen by WHIP. */

import { Peer } from "./peer.js";

const MAX_BITRATE_BPS = 4_000_000;

/** Keep publishing the video track that `track()` returns to `url`; returns its Peer, not yet opened. */
export function whipPublisher(url, { track, onState }) {
  const prepare = (pc) => {
    const encoding = { maxBitrate: MAX_BITRATE_BPS };
    pc.addTransceiver(track(), { direction: "sendonly", sendEncodings: [encoding] });
  };
  return new Peer(url, { prepare, onState });
}

/** Send another track on a publisher that runs; it takes effect without a new connection. */
export async function replaceTrack(peer, track) {
  const sender = peer.connection?.getSenders()[0];
  await sender?.replaceTrack(track);
}

/** An id for a stream of this page: `camera-` and six letters or digits. */
export function streamId(kind, random = crypto.getRandomValues(new Uint32Array(1))[0]) {
  return `${kind}-${random.toString(36).padStart(6, "0").slice(-6)}`;
}
