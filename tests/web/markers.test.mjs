import assert from "node:assert/strict";
import test, { afterEach, beforeEach, mock } from "node:test";

import { Markers } from "../../web/markers.js";

class FakeElement {
  dataset = {};
  children = [];
  parent = null;
  clientWidth = 1000;
  placed = {};
  style = { setProperty: (name, value) => (this.placed[name] = value) };

  append(child) {
    child.parent = this;
    this.children.push(child);
  }

  replaceChildren() {
    this.children = [];
  }

  remove() {
    this.parent.children = this.parent.children.filter((one) => one !== this);
  }

  setAttribute() {}
}

let layer;
let where;
let markers;

beforeEach(() => {
  globalThis.document = { createElement: () => new FakeElement() };
  mock.timers.enable({ apis: ["setTimeout"] });
  [layer, where] = [new FakeElement(), new Map()];
  markers = new Markers(layer, {
    onStage: ({ x, y }) => ({ x: 1000 * x, y: 500 * y }),
    where: (object) => where.get(object) ?? null,
  });
});
afterEach(() => mock.timers.reset());

const add = () => markers.place({ x: 0.2, y: 0.5 }, "add");
const [placed, state] = [() => layer.children[0].placed, () => layer.children[0]?.dataset.state];

test("a mark is where the click was, then glides onto its object when that is told", () => {
  const marker = add();
  assert.deepEqual(placed(), { "--x": "200px", "--y": "250px" });
  assert.equal(state(), "waiting");
  marker.settle("red", 4, 90);
  where.set(4, { x: 0.6, y: 0.4, frame: 89 });
  markers.moved();
  assert.deepEqual([placed()["--x"], state()], ["200px", "settled"]);
  where.set(4, { x: 0.6, y: 0.4, frame: 90 });
  markers.moved();
  assert.deepEqual([placed()["--x"], placed()["--y"], state()], ["600px", "200px", "leaving"]);
  mock.timers.tick(1000);
  assert.equal(state(), undefined);
});

test("a mark whose object is known already glides at once, one whose object is not seen just goes", () => {
  where.set(4, { x: 0.6, y: 0.4, frame: 95 });
  add().settle("red", 4, 90);
  assert.deepEqual([placed()["--x"], state()], ["600px", "leaving"]);
  markers.clear();
  add().settle("red", 5, 90);
  mock.timers.tick(500);
  assert.deepEqual([placed()["--x"], state()], ["200px", "leaving"]);
});

test("a refused mark says so where it is, and goes later", () => {
  add().refuse("The frame is gone; click again.");
  assert.equal(state(), "refused");
  assert.equal(layer.children[0].children[0].textContent, "The frame is gone; click again.");
  markers.moved();
  assert.equal(placed()["--x"], "200px");
  mock.timers.tick(5000);
  assert.equal(layer.children.length, 0);
});

test("on a frozen picture marks stay where they were made until it is released", () => {
  markers.keep(true);
  where.set(4, { x: 0.6, y: 0.4, frame: 95 });
  const late = add();
  add().settle("red", 4, 90);
  mock.timers.tick(5000);
  assert.deepEqual(layer.children.map((one) => one.dataset.state), ["waiting", "taken"]);
  markers.keep(false);
  mock.timers.tick(0);
  late.settle("red", 4, 90);
  assert.deepEqual(layer.children.map((one) => one.dataset.state), ["leaving"]);
});

test("marks keep their place in the picture when the stage changes", () => {
  const marker = add();
  marker.moveTo({ x: 0.1, y: 0.1 });
  markers.resized();
  assert.equal(placed()["--x"], "100px");
});
