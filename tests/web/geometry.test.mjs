import assert from "node:assert/strict";
import test from "node:test";

import { boxBetween, contentRect, toElement, toFrame } from "../../web/geometry.js";

const near = (got, wanted) => assert.ok(Math.abs(got - wanted) < 1e-9, `${got} is not ${wanted}`);
const element = (width, height, left = 0, top = 0) => ({ width, height, left, top });
const HD = { width: 1280, height: 720 };

test("a wide picture in a tall element has bars above and below", () => {
  assert.deepEqual(contentRect(element(640, 640), HD), { x: 0, y: 140, width: 640, height: 360 });
});

test("a portrait picture in a wide element has bars left and right", () => {
  assert.deepEqual(contentRect(element(1000, 500), { width: 360, height: 720 }), { x: 375, y: 0, width: 250, height: 500 });
});

test("cover cuts the picture's sides and fill stretches it", () => {
  assert.deepEqual(contentRect(element(720, 720), HD, "cover"), { x: -280, y: 0, width: 1280, height: 720 });
  assert.deepEqual(contentRect(element(720, 720), HD, "fill"), { x: 0, y: 0, width: 720, height: 720 });
});

test("a click gives the centre of the pixel under it", () => {
  const { x, y, inside } = toFrame(0.4, 0.9, element(1280, 720), HD);
  near(x, 0.5 / 1280);
  near(y, 0.5 / 720);
  assert.equal(inside, true);
});

test("pixels are half open: the picture's right edge is outside", () => {
  assert.equal(toFrame(1279.99, 10, element(1280, 720), HD).inside, true);
  assert.equal(toFrame(1280, 10, element(1280, 720), HD).inside, false);
});

test("letterbox bars are outside and give the nearest edge pixel", () => {
  const place = toFrame(320, 20, element(640, 640), HD);
  assert.equal(place.inside, false);
  near(place.y, 0.5 / 720);
});

test("the element's place on the page is taken off", () => {
  const place = toFrame(150 + 320, 52 + 140 + 180, element(640, 640, 150, 52), HD);
  near(place.x, (640 + 0.5) / 1280);
  near(place.y, (360 + 0.5) / 720);
});

test("mirroring mirrors the pixel, not its edge", () => {
  const plain = toFrame(10, 10, element(1280, 720), HD);
  const mirrored = toFrame(10, 10, element(1280, 720), HD, { mirror: true });
  near(plain.x + mirrored.x, 1);
  near(mirrored.x, (1279 - 10 + 0.5) / 1280);
});

test("fractions of a CSS pixel, as dense displays give, reach single pixels of the frame", () => {
  const seen = new Set();
  for (let device = 0; device < 1280; device += 1) {
    seen.add(toFrame(device / 2 + 0.25, 0, element(640, 360), HD).x);
  }
  assert.equal(seen.size, 1280);
});

test("odd sizes and any scale come back to where they were", () => {
  const size = { width: 641, height: 359 };
  const box = element(377.5, 812.25, 3.5, 7.25);
  for (const mirror of [false, true]) {
    for (const [column, row] of [[0, 0], [320, 100], [640, 358]]) {
      const x = (column + 0.5) / size.width;
      const y = (row + 0.5) / size.height;
      const at = toElement(x, y, box, size, { mirror });
      const back = toFrame(at.x + box.left, at.y + box.top, box, size, { mirror });
      near(back.x, x);
      near(back.y, y);
    }
  }
});

test("a box has its corners in order whichever way it was drawn", () => {
  assert.deepEqual(boxBetween({ x: 0.8, y: 0.2 }, { x: 0.1, y: 0.6 }), [0.1, 0.2, 0.8, 0.6]);
});
