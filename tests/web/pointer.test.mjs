import assert from "node:assert/strict";
import test, { beforeEach, mock } from "node:test";

import { Gestures } from "../../web/pointer.js";

class FakeGlass extends EventTarget {
  setPointerCapture() {}
}

let glass;
let seen;
let gestures;

beforeEach(() => {
  glass = new FakeGlass();
  seen = [];
  gestures = new Gestures(glass, {
    onClick: (click) => seen.push(["click", click]),
    onDrag: () => seen.push(["drag"]),
    onBox: (box) => seen.push(["box", box]),
    onCancel: () => seen.push(["cancel"]),
  });
});

function pointer(type, x, y, more = {}) {
  const event = new Event(type, { cancelable: true });
  const facts = { pointerId: 1, isPrimary: true, pointerType: "mouse", button: 0, shiftKey: false, clientX: x, clientY: y };
  for (const [name, value] of Object.entries({ ...facts, ...more })) Object.defineProperty(event, name, { value });
  glass.dispatchEvent(event);
  return event;
}

test("a press and a release are a click at the press", () => {
  const down = pointer("pointerdown", 10, 20);
  pointer("pointermove", 12, 21);
  pointer("pointerup", 12, 21);
  assert.deepEqual(seen, [["click", { x: 10, y: 20, time: down.timeStamp, negative: false }]]);
});

test("shift and the right button make a click negative", () => {
  pointer("pointerdown", 1, 1, { shiftKey: true });
  pointer("pointerup", 1, 1);
  pointer("pointerdown", 1, 1, { button: 2 });
  pointer("pointerup", 1, 1, { button: 2 });
  assert.deepEqual(seen.map(([, click]) => click.negative), [true, true]);
});

test("a press that moves is a box, told of at its release", () => {
  pointer("pointerdown", 10, 10);
  pointer("pointermove", 60, 50);
  const up = pointer("pointerup", 70, 60);
  const box = { from: { x: 10, y: 10 }, to: { x: 70, y: 60 }, time: up.timeStamp };
  assert.deepEqual(seen, [["drag"], ["box", box]]);
});

test("a finger may tremble more than a mouse", () => {
  pointer("pointerdown", 10, 10, { pointerType: "touch" });
  pointer("pointermove", 18, 10, { pointerType: "touch" });
  pointer("pointerup", 18, 10, { pointerType: "touch" });
  assert.equal(seen[0][0], "click");
});

test("a second finger gives the gesture up", () => {
  pointer("pointerdown", 10, 10);
  pointer("pointermove", 60, 60);
  pointer("pointerdown", 90, 90, { pointerId: 2, isPrimary: false });
  pointer("pointerup", 60, 60);
  assert.deepEqual(seen.map(([name]) => name), ["drag", "cancel"]);
});

test("a cancelled box is not sent", () => {
  pointer("pointerdown", 10, 10);
  pointer("pointermove", 60, 60);
  gestures.cancel();
  pointer("pointerup", 60, 60);
  assert.deepEqual(seen.map(([name]) => name), ["drag", "cancel"]);
});

test("the middle button does nothing", () => {
  pointer("pointerdown", 10, 10, { button: 1 });
  pointer("pointerup", 10, 10, { button: 1 });
  assert.deepEqual(seen, []);
});

function finger(type, x = 10, y = 10) {
  return pointer(type, x, y, { pointerType: "touch" });
}

function holding(taken) {
  mock.timers.enable({ apis: ["setTimeout"] });
  glass = new FakeGlass();
  gestures = new Gestures(glass, {
    onClick: () => seen.push("click"),
    onDrag: () => seen.push("drag"),
    onBox: () => seen.push("box"),
    onHold: () => seen.push("hold") > 0 && taken,
  });
}

test("a finger that rests holds, and is no click any more", (context) => {
  context.after(() => mock.timers.reset());
  holding(true);
  finger("pointerdown");
  mock.timers.tick(499);
  assert.deepEqual(seen, []);
  mock.timers.tick(1);
  finger("pointermove", 60, 60);
  finger("pointerup", 60, 60);
  assert.deepEqual(seen, ["hold"]);
});

test("a long touch that nobody wants is a click", (context) => {
  context.after(() => mock.timers.reset());
  holding(false);
  finger("pointerdown");
  mock.timers.tick(600);
  finger("pointerup");
  assert.deepEqual(seen, ["hold", "click"]);
});

test("taps, boxes and mice do not hold", (context) => {
  context.after(() => mock.timers.reset());
  holding(true);
  finger("pointerdown");
  finger("pointerup");
  finger("pointerdown");
  finger("pointermove", 60, 60);
  mock.timers.tick(600);
  finger("pointerup", 60, 60);
  pointer("pointerdown", 1, 1);
  mock.timers.tick(600);
  pointer("pointerup", 1, 1);
  assert.deepEqual(seen, ["click", "drag", "box", "click"]);
});
