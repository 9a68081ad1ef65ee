/** The control socket's messages, as docs/protocol.md has them. */

export const VERSION = 1;
export const SUBPROTOCOL = "streamtrack.v1";

/**
 * A prompt on one object. `object` null makes a new one; points and box are normalised to [0, 1]
 * of the frame, x then y; `at` names the frame the person saw.
 */
export function promptAdd({ id, object = null, points = null, labels = null, box = null, at }) {
  return { v: VERSION, type: "prompt.add", id, object, points, labels, box, mask: null, at };
}

export const promptUndo = (object) => ({ v: VERSION, type: "prompt.undo", object });
export const framePin = (id, at) => ({ v: VERSION, type: "frame.pin", id, at });
export const frameUnpin = () => ({ v: VERSION, type: "frame.unpin" });
export const objectRemove = (object) => ({ v: VERSION, type: "object.remove", object });
export const objectRename = (object, name) => ({ v: VERSION, type: "object.rename", object, name });
export const objectsReset = () => ({ v: VERSION, type: "objects.reset" });
export const settingsSet = (settings) => ({ v: VERSION, type: "settings.set", ...settings });
/** `seen` says which frame came on display how long ago, so that the server can tell its way's length. */
export const ping = (t, seen = null) => ({ v: VERSION, type: "ping", t, ...(seen && { seen }) });

/** Parse one message of the server; null when it is not one this page understands. */
export function parse(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return null;
  }
  const understood = message?.v === VERSION && typeof message.type === "string";
  return understood ? message : null;
}
