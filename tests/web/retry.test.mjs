import assert from "node:assert/strict";
import test, { mock } from "node:test";

import { Retry, backoff } from "../../web/backoff.js";

const middle = () => 0.5;

test("waits double from half a second to eight", () => {
  const waits = [0, 1, 2, 3, 4, 5, 50, 5000].map((attempt) => backoff(attempt, middle));
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 8000, 8000, 8000]);
});

test("jitter is a fifth either way", () => {
  assert.equal(Math.round(backoff(0, () => 0)), 400);
  assert.equal(Math.round(backoff(0, () => 1)), 600);
});

test("a retry runs once after its wait, and success forgets the failures", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let runs = 0;
  const retry = new Retry(() => (runs += 1), middle);
  assert.equal(retry.later(), 500);
  assert.equal(retry.later(), 1000);
  mock.timers.tick(999);
  assert.equal(runs, 0);
  mock.timers.tick(1);
  assert.equal(runs, 1);
  retry.succeeded();
  assert.equal(retry.later(), 500);
  mock.timers.reset();
});

test("a server's Retry-After is obeyed", () => {
  const retry = new Retry(() => {}, middle);
  assert.equal(retry.later(3000), 3000);
  retry.cancel();
  assert.equal(retry.waiting, false);
});

test("now runs a waiting retry at once, and nothing else", () => {
  let runs = 0;
  const retry = new Retry(() => (runs += 1), middle);
  retry.now();
  assert.equal(runs, 0);
  retry.later();
  retry.now();
  retry.now();
  assert.equal(runs, 1);
});
