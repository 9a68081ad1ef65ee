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
  prompts.aim(point(label), marker)({ rtp: 7 });
  return marker;
}

/** A click whose frame is told later. */
function aim(label = 1) {
  const marker = new FakeMarker();
  return { marker, tell: prompts.aim(point(label), marker) };
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

test("what a click is for is settled when it is made, not when its frame is told", () => {
  prompts.select(3);
  const click = aim();
  prompts.select(5);
  click.tell({ rtp: 7 });
  assert.equal(sent[0].object, 3);
  const next = aim();
  prompts.select(null);
  next.tell({ rtp: 8 });
  assert.equal(sent[1].object, 5);
  assert.equal(prompts.selected, null);
});

test("a new object stays new when another is selected before its frame is told", () => {
  const click = aim();
  prompts.select(2);
  click.tell({ rtp: 7 });
  assert.equal(sent[0].object, null);
  acknowledge(9);
  assert.equal(prompts.selected, 2);
});

test("two quick clicks are for one new object, whose second waits for its id", () => {
  const [first, second] = [aim(), aim()];
  first.tell({ rtp: 7 });
  second.tell({ rtp: 8 });
  assert.equal(sent.length, 1);
  acknowledge(2);
  assert.deepEqual([sent[1].object, sent[1].at], [2, { rtp: 8 }]);
});

test("clicks that wait for their object get it even when another is selected meanwhile", () => {
  add();
  const second = add();
  prompts.select(7);
  acknowledge(2, sent[0]);
  assert.equal(sent[1].object, 2);
  assert.equal(second.state, "waiting");
});

test("a click whose frame is told after the connection was lost is not sent to another", () => {
  const click = aim();
  prompts.lost();
  click.tell({ rtp: 7 });
  assert.match(click.marker.state, /connection was lost/);
  assert.equal(sent.length, 0);
  add();
  assert.equal(sent[0].object, null);
});

test("an estimated age grows while its prompt waits", () => {
  const clock = mock.method(performance, "now", () => 1000);
  add();
  const { tell } = aim();
  tell({ age_ms: 80 });
  clock.mock.mockImplementation(() => 1250);
  acknowledge(1);
  assert.deepEqual(sent[1].at, { age_ms: 330 });
  clock.mock.restore();
});

test("it is told when every prompt has its answer", async () => {
  add();
  add();
  let told = false;
  const answered = prompts.answered().then(() => (told = true));
  acknowledge(1);
  await Promise.resolve();
  assert.equal(told, false);
  acknowledge(1);
  await answered;
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
