"""From camera to encoder, from camera to page, and what viewers cost.

    python benchmarks/latency.py

1. The demo at 1280x720 and 30 frames/s, three objects followed by nano, one viewer: from a frame's
   arrival to its drawn and to its encoded picture, by the server's own histograms.
2. Chromium's fake camera (640x360, 30 frames/s, numbered frames) published to the server and
   viewed again, against a plain aiortc echo in the same run: from a frame in the page's own
   preview to the same frame in the picture that came back.
3. Processor time of the server with 1 and 8 viewers, and of the 8 from the offer to a packet.

Needs Chromium and Playwright (`make setup-dev`, `make system`).
"""

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import paths  # noqa: F401  (before what imports click)
import psutil
import uvicorn
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse
from playwright.sync_api import Page, sync_playwright
from rich.console import Console

from streamtrack.client import Client
from tests.browser.conftest import FLAGS
from tests.browser.server import Server, free_port
from tests.patterns import BITS, CELL, numbered

SIZE = (360, 640)
SCRIPT = """
async ({ publish, view, BITS, CELL, seconds }) => {
  const media = await navigator.mediaDevices.getUserMedia(
    { video: { width: 640, height: 360, frameRate: 30 }, audio: false });
  const shown = [new Map(), new Map()];
  const canvas = document.createElement("canvas");
  const read = (video) => {
    canvas.width = video.videoWidth; canvas.height = 2 * CELL;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(video, 0, 0);
    const { data } = pen.getImageData(0, 0, canvas.width, 2 * CELL);
    let number = 0;
    for (let bit = 0; bit < BITS; bit += 1) {
      const x = CELL * (bit + 2) + CELL / 2;
      const at = (y) => data[4 * (y * canvas.width + x)];
      if (at(CELL / 2) > at(CELL + CELL / 2)) number |= 1 << bit;
    }
    return number;
  };
  const watch = (stream, into) => {
    const video = document.createElement("video");
    Object.assign(video, { muted: true, autoplay: true, playsInline: true, srcObject: stream });
    document.body.append(video);
    const next = (now, frame) => {
      video.requestVideoFrameCallback(next);
      const number = read(video);
      if (!into.has(number)) into.set(number, frame.expectedDisplayTime);
    };
    video.requestVideoFrameCallback(next);
    return video.play();
  };
  const negotiate = async (pc, url) => {
    await pc.setLocalDescription(await pc.createOffer());
    const answer = await fetch(url, { method: "POST", body: pc.localDescription.sdp,
      headers: { "Content-Type": "application/sdp" } });
    await pc.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  };
  const back = new Promise((tell) => { globalThis.arrived = tell; });
  const sender = new RTCPeerConnection();
  const arrived = ({ streams, track }) =>
    globalThis.arrived(streams[0] ?? new MediaStream([track]));
  sender.ontrack = arrived;
  if (view === null) sender.addTransceiver(media.getVideoTracks()[0], { direction: "sendrecv" });
  else sender.addTransceiver(media.getVideoTracks()[0], { direction: "sendonly" });
  await watch(media, shown[0]);
  await negotiate(sender, publish);
  let connect = null;
  if (view !== null) {
    await new Promise((done) => setTimeout(done, 1500));
    const viewer = new RTCPeerConnection();
    const begun = performance.now();
    viewer.ontrack = arrived;
    viewer.addTransceiver("video", { direction: "recvonly" });
    await negotiate(viewer, view);
    const stream = await back;
    await watch(stream, shown[1]);
    while (shown[1].size === 0) await new Promise((done) => setTimeout(done, 2));
    connect = performance.now() - begun;
  } else await watch(await back, shown[1]);
  await new Promise((done) => setTimeout(done, 3000));
  shown[0].clear(); shown[1].clear();
  await new Promise((done) => setTimeout(done, 1000 * seconds));
  const both = [...shown[1]].filter(([number]) => shown[0].has(number));
  const delays = both.map(([number, at]) => at - shown[0].get(number));
  return { delays, connect, sent: shown[0].size, came: shown[1].size };
}
"""


def make_clip(path: Path, frames: int = 1800) -> None:
    """Write numbered frames as the film of the browser's fake camera."""
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuvj420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered(number, SIZE), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class Echo:
    """A plain aiortc server that sends back what it gets."""

    def __init__(self) -> None:
        """Serve on a free port, in a thread."""
        self.url = f"http://127.0.0.1:{free_port()}/"
        app = FastAPI()
        self._peers: list[RTCPeerConnection] = []
        app.add_api_route("/", lambda: HTMLResponse("<!doctype html><title>echo</title>"))
        app.add_api_route("/echo", self._answer, methods=["POST"])
        port = int(self.url.rsplit(":", 1)[1].strip("/"))
        config = uvicorn.Config(app, port=port, log_level="warning")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.05)

    async def _answer(self, request: Request) -> PlainTextResponse:
        pc, relay = RTCPeerConnection(RTCConfiguration(iceServers=[])), MediaRelay()
        self._peers.append(pc)
        pc.on("track", lambda track: pc.addTrack(relay.subscribe(track, buffered=False)))
        offer = (await request.body()).decode()
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        return PlainTextResponse(pc.localDescription.sdp)

    def stop(self) -> None:
        """End."""
        self._server.should_exit = True
        self._thread.join(10)


def quantile(text: str, stage: str, share: float) -> float:
    """Return a quantile of a stage's latency in ms, interpolated between the buckets."""
    rows = re.findall(
        rf'stage_latency_seconds_bucket{{le="([^"]+)",stage="{stage}",stream="demo"}} ([\d.e+]+)',
        text,
    )
    bounds, counts = [float(le) for le, _ in rows], [float(count) for _, count in rows]
    if not counts:
        return float("nan")
    wanted, below, under = share * counts[-1], 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= wanted:
            top = bound if np.isfinite(bound) else below
            return 1000 * (below + (top - below) * (wanted - under) / max(1e-9, count - under))
        below, under = bound, count
    return float("inf")


@contextmanager
def running(source: str, folder: str) -> Iterator[Server]:
    """Give a running server."""
    server = Server(source, Path(folder) / "server.log")
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def busy(server: Server, clicks: int, seconds: float) -> str:
    """Follow things for a while with one viewer; return the metrics."""
    async with Client(server.url) as client, client.view("demo") as video:
        await video.frame()
        async with client.control("demo") as control:
            for index in range(clicks):
                await control.click(0.25 + 0.25 * index, 0.55)
            await control.next("objects")
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await video.frame()
            stats = await control.next("stats")
        Console(width=100).print({key: stats[key] for key in sorted(stats) if key != "type"})
        return (await client.request("GET", "metrics")).body.decode()


def processor_time(server: Server, viewers: int, seconds: float) -> tuple[float, list[float]]:
    """Return the server's share of a core while so many look on, and their connection times."""
    command = [sys.executable, "-m", "benchmarks.viewers", server.url, str(viewers)]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        times = [float(process.stdout.readline()) for _ in range(viewers)]
        time.sleep(2)
        watched = psutil.Process(server.pid)
        before, begun = sum(watched.cpu_times()[:2]), time.monotonic()
        time.sleep(seconds)
        used = (sum(watched.cpu_times()[:2]) - before) / (time.monotonic() - begun)
        process.stdin.close()
        process.wait(20)
    return used, times


@dataclass(frozen=True)
class Way:
    """One way from the page's camera back to the page."""

    name: str
    page: str
    publish: str
    view: str | None


def there_and_back(page: Page, way: Way, seconds: float) -> dict[str, Any]:
    """Return what the page measured."""
    page.goto(way.page)
    facts = {"publish": way.publish, "view": way.view, "BITS": BITS, "CELL": CELL}
    found: dict[str, Any] = page.evaluate(SCRIPT, {**facts, "seconds": seconds})
    return found


def percentiles(values: list[float]) -> str:
    """Return p50 and p95 in words."""
    if not values:
        return "nothing came"
    p50, p95 = np.percentile(values, [50, 95])
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms"


def main() -> None:
    """Measure all three and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--parts", nargs="+", default=["encoder", "page", "viewers"])
    args = parser.parse_args()
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        if "encoder" in args.parts:
            with running("demo=demo:seed=4,size=1280x720,fps=30,objects=4", folder) as server:
                text = asyncio.run(busy(server, 3, args.seconds))
                for stage in ("tracker", "display", "encode"):
                    low, high = (quantile(text, stage, share) for share in (0.5, 0.95))
                    console.print(f"arrival to {stage:8} p50 {low:.1f} ms, p95 {high:.1f} ms")
        if "page" in args.parts:
            measure_page(args.seconds, folder, console)
        if "viewers" in args.parts:
            with running("demo=demo:seed=4,size=1280x720,fps=30,objects=4", folder) as server:
                one, _ = processor_time(server, 1, args.seconds)
                eight, times = processor_time(server, 8, args.seconds)
                console.print(
                    f"server's processor time: 1 viewer {one:.2f} cores, 8 viewers {eight:.2f}, "
                    f"ratio {eight / one:.2f}; eight at once connect in {percentiles(times)}"
                )


def measure_page(seconds: float, folder: str, console: Console) -> None:
    """Compare the way through the server with a plain echo, in turn."""
    clip = Path(folder) / "clip.mjpeg"
    make_clip(clip)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    echo = Echo()
    try:
        with running("demo", folder) as server, sync_playwright() as playwright:
            flags = [*FLAGS, f"--use-file-for-fake-video-capture={clip}"]
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            base = f"{server.url}api/v1/streams/bench"
            ways = (
                Way("echo", echo.url, f"{echo.url}echo", None),
                Way("streamtrack", server.url, f"{base}/whip", f"{base}/whep"),
            )
            for _ in range(2):
                for way in ways:
                    page = browser.new_context().new_page()
                    found = there_and_back(page, way, seconds)
                    page.context.close()
                    connect = found["connect"]
                    console.print(
                        f"camera to page through {way.name}: {percentiles(found['delays'])}, "
                        f"{found['came']} of {found['sent']} frames"
                        + (f", first picture after {connect:.0f} ms" if connect else "")
                    )
                    time.sleep(1)
            browser.close()
    finally:
        echo.stop()


if __name__ == "__main__":
    main()
