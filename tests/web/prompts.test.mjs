import assert from "node:assert/strict";
import test, { afterEach, beforeEach, mock } from "node:test";

import { Prompts } from "../../web/prompts.js";

class FakeMarker {
  state = "waiting";

  settle(colour) {
    this.state = colour;
  }

  refuse(sentence) {
    this.state = `refused: ${sentence}`;
  }
}

const point = (label = 1) => ({ points: [[0.5, 0.5]], labels: [label] });
let sent;
let connected;
let prompts;

beforeEach(() => {
  [sent, connected] = [[], true];
  mock.timers.enable({ apis: ["setTimeout"] });
  prompts = new Prompts({
    send: (message) => connected && sent.push(message) > 0,
    onSelect: () => {},
  });
});
afterEach(() => mock.timers.reset());

function add(label = 1) {
  const marker = new FakeMarker();
  prompts.add(point(label), { rtp: 7 }, marker);
  return marker;
}

const acknowledge = (object, message = sent.at(-1)) => prompts.acknowledged({ id: message.id, object }, (id) => `colour ${id}`);

test("the first click makes an object, which is then selected and refined", () => {
  const marker = add();
  assert.equal(sent[0].object, null);
  acknowledge(4);
  assert.equal(marker.state, "colour 4");
  assert.equal(prompts.selected, 4);
  add(0);
  assert.deepEqual([sent[1].object, sent[1].labels], [4, [0]]);
});

test("clicks made while an object is being made go to that object", () => {
  add();
  const second = add();
  assert.equal(sent.length, 1);
  acknowledge(2);
  assert.equal(sent.length, 2);
  assert.equal(sent[1].object, 2);
  assert.equal(second.state, "waiting");
});

test("a cut without a selected object is refused at the pointer", () => {
  assert.match(add(0).state, /Select an object first/);
  assert.equal(sent.length, 0);
});

test("a refusal reaches the marker that it is for", () => {
  const marker = add();
  assert.equal(prompts.refused({ id: "another", message: "no" }), false);
  assert.equal(prompts.refused({ id: sent[0].id, message: "Too late." }), true);
  assert.equal(marker.state, "refused: Too late.");
  assert.equal(prompts.making, false);
});

test("clicks waiting for an object that is not made are refused", () => {
  add();
  const second = add();
  prompts.refused({ id: sent[0].id, message: "no" });
  assert.match(second.state, /refused/);
});

test("a lost connection refuses what is under way", () => {
  const marker = add();
  prompts.lost();
  assert.match(marker.state, /connection was lost/);
  acknowledge(1);
  assert.equal(prompts.selected, null);
});

test("a click without a connection says so at once", () => {
  connected = false;
  assert.match(add().state, /Not connected/);
  assert.equal(prompts.making, false);
});

test("a server that does not answer is not waited for without end", () => {
  const marker = add();
  mock.timers.tick(30000);
  assert.match(marker.state, /did not answer/);
});

test("choosing a new object lets an object that is being made go on without being selected", () => {
  add();
  prompts.select(null);
  acknowledge(3);
  assert.equal(prompts.selected, null);
  add();
  assert.equal(sent[1].object, null);
});

test("ids are never used twice", () => {
  add();
  acknowledge(1);
  add();
  acknowledge(1);
  assert.notEqual(sent[0].id, sent[1].id);
});

test("undo is for the selected object only", () => {
  assert.equal(prompts.undo(), false);
  add();
  acknowledge(5);
  assert.equal(prompts.undo(), true);
  assert.deepEqual(sent.at(-1), { v: 1, type: "prompt.undo", object: 5 });
});
