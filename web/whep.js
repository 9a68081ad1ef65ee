/** Viewing a stream by WHEP. */

import { Peer } from "./peer.js";

/** Keep a `<video>`'s media coming from `url`; returns its Peer, not yet opened. */
export function whepViewer(url, { onMedia, onState }) {
  const prepare = (pc) => {
    const { receiver } = pc.addTransceiver("video", { direction: "recvonly" });
    showAtOnce(receiver);
    pc.ontrack = ({ track, streams }) => onMedia(streams[0] ?? new MediaStream([track]));
  };
  return new Peer(url, { prepare, onState });
}

/** Ask the browser not to hold frames back: a click is made on what is shown. */
function showAtOnce(receiver) {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
  else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
}
