/** Injected into the page: times each click from the press to the first frame that shows its mask. */
(() => {
  const WIDTH = 240;
  const ENOUGH = 0.002; // of the picture's pixels in the object's colour
  const times = window.times = { clicks: [], colours: window.colours };
  const canvas = document.createElement("canvas");
  const painted = (video, [red, green, blue]) => {
    canvas.width = WIDTH;
    canvas.height = Math.round((WIDTH * video.videoHeight) / video.videoWidth);
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(video, 0, 0, canvas.width, canvas.height);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      const far = Math.max(Math.abs(data[i] - red), Math.abs(data[i + 1] - green), Math.abs(data[i + 2] - blue));
      if (far < 36) count += 1;
    }
    return (4 * count) / data.length;
  };
  const watch = () => {
    const video = document.querySelector("#video");
    if (video === null) return;
    const next = (_, frame) => {
      video.requestVideoFrameCallback(next);
      const click = times.clicks.at(-1);
      if (!click?.object || click.shown) return;
      const colour = times.colours[(click.object - 1) % times.colours.length];
      if (painted(video, colour) >= ENOUGH) click.shown = frame.expectedDisplayTime;
    };
    video.requestVideoFrameCallback(next);
    document.querySelector("#glass").addEventListener("pointerdown", (event) => {
      times.clicks.push({ pressed: event.timeStamp });
    }, { capture: true });
  };
  document.addEventListener("DOMContentLoaded", watch);
  let heard = null;
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (heard !== this) {
      heard = this;
      this.addEventListener("message", ({ data }) => {
        const message = JSON.parse(data);
        const click = times.clicks.find(({ id }) => id !== undefined && id === message.id);
        if (click && message.type === "prompt.ack") Object.assign(click, message, { acked: performance.now() });
        if (click && message.type === "error") click.code = message.code;
      });
    }
    const message = JSON.parse(data);
    if (message.type === "prompt.add") Object.assign(times.clicks.at(-1), { sent: performance.now(), id: message.id });
    return send.call(this, data);
  };
})();
