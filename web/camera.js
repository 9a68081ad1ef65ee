/** The cameras of this device, and sentences for when there is none to have. */

const PICTURE = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 60 } };

const SENTENCES = {
  NotAllowedError: "The camera was refused. Allow it for this page in the browser's address bar, then try again.",
  NotFoundError: "No camera was found. Connect one, then try again.",
  NotReadableError: "The camera is in use by another program. Close that program, then try again.",
  OverconstrainedError: "That camera is no longer there. Choose another one.",
  AbortError: "The camera stopped while it was starting. Try again.",
  SecurityError: "This browser's settings forbid the camera on this page.",
};
const SCREEN_REFUSED = "The screen was not shared. Choose a window or screen, then try again.";
const INSECURE =
  "Browsers give the camera only to secure pages. Open this page by https, or at http://localhost on the server's own machine.";

/** What to tell the person about an error of openCamera or openScreen. */
export function cameraProblem(error, kind = "camera") {
  if (error instanceof InsecureContext) return INSECURE;
  if (kind === "screen" && error.name === "NotAllowedError") return SCREEN_REFUSED;
  return SENTENCES[error.name] ?? `The ${kind} could not be opened: ${error.message || error.name}.`;
}

class InsecureContext extends Error {}

function devices() {
  if (!navigator.mediaDevices) throw new InsecureContext();
  return navigator.mediaDevices;
}

/** Open a camera: one by its device id, else by the side it looks to ("user", "environment"). */
export async function openCamera({ deviceId = null, facing = null } = {}) {
  const video = { ...PICTURE };
  if (deviceId) video.deviceId = { exact: deviceId };
  else if (facing) video.facingMode = { ideal: facing };
  const media = await devices().getUserMedia({ video, audio: false });
  return asMotion(media.getVideoTracks()[0]);
}

/** Open a screen, window or tab that the person chooses. */
export async function openScreen() {
  const media = await devices().getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: false });
  return asMotion(media.getVideoTracks()[0]);
}

export const canShareScreen = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/** The cameras the browser tells of, as {deviceId, label}; labels are empty before permission. */
export async function listCameras() {
  if (!navigator.mediaDevices?.enumerateDevices) return [];
  const all = await navigator.mediaDevices.enumerateDevices();
  return all.filter((device) => device.kind === "videoinput");
}

/** Prefer smooth motion to sharp stills when the encoder must choose. */
function asMotion(track) {
  if ("contentHint" in track) track.contentHint = "motion";
  return track;
}
