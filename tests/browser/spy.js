/** Injected into the page: reads the numbers that frames carry, and follows each click to its answer. */
(() => {
  const { BITS, CELL, codec } = window.numbered;
  const spy = window.spy = { shown: new Map(), numbers: new Map(), clicks: [], frames: 0 };
  const canvas = document.createElement("canvas");
  const read = (picture, width) => {
    canvas.width = width; canvas.height = 2 * CELL;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(picture, 0, 0);
    const { data } = pen.getImageData(0, 0, canvas.width, 2 * CELL);
    let number = 0;
    for (let bit = 0; bit < BITS; bit += 1) {
      const x = CELL * (bit + 2) + CELL / 2;
      const at = (y) => data[4 * (y * canvas.width + x)];
      if (at(CELL / 2) > at(CELL + CELL / 2)) number |= 1 << bit;
    }
    return number;
  };
  /** Keep the number of the picture under its own timestamp: a busy browser is past the reported one. */
  const keep = (video) => {
    const picture = new VideoFrame(video);
    spy.numbers.set(picture.metadata().rtpTimestamp, read(picture, picture.displayWidth));
    picture.close();
  };
  /**
   * What was on display at each click, told when all reports of the browser are in; null where that
   * picture was gone before it could be read.
   */
  spy.told = () => {
    const shown = [...spy.shown].map(([rtp, at]) => ({ rtp, at })).sort((a, b) => a.at - b.at);
    return spy.clicks.map((click) => {
      const onDisplay = shown.findLast(({ at }) => at <= click.time);
      return { ...click, seen: spy.numbers.get(onDisplay?.rtp) ?? null };
    });
  };
  const watch = () => {
    const video = document.querySelector("#video");
    if (video === null) return;
    const next = (_, frame) => {
      video.requestVideoFrameCallback(next);
      spy.frames += 1;
      spy.shown.set(frame.rtpTimestamp, frame.expectedDisplayTime);
      keep(video);
    };
    video.requestVideoFrameCallback(next);
    document.querySelector("#glass").addEventListener("pointerdown", (event) => {
      spy.clicks.push({ time: event.timeStamp, canvas: read(video, video.videoWidth) });
    }, { capture: true });
  };
  document.addEventListener("DOMContentLoaded", watch);
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    const message = JSON.parse(data);
    if (message.type === "prompt.add") spy.clicks.find(({ id }) => id === undefined).id = message.id;
    if (spy.heard !== this) {
      spy.heard = this;
      this.addEventListener("message", ({ data }) => {
        const { type, id, frame_id, mode, code } = JSON.parse(data);
        const click = spy.clicks.find((one) => one.id === id);
        if (click && type === "prompt.ack") Object.assign(click, { frame_id, mode });
        if (click && type === "error") Object.assign(click, { code });
      });
    }
    return send.call(this, data);
  };
  const add = RTCPeerConnection.prototype.addTransceiver;
  RTCPeerConnection.prototype.addTransceiver = function (...all) {
    const transceiver = add.apply(this, all);
    const { codecs } = RTCRtpReceiver.getCapabilities("video");
    transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === codec));
    return transceiver;
  };
})();
