import assert from "node:assert/strict";
import test, { afterEach, beforeEach, mock } from "node:test";

import { Control } from "../../web/control.js";

class FakeSocket {
  static all = [];
  sent = [];

  constructor(url, protocol) {
    Object.assign(this, { url, protocol });
    FakeSocket.all.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }
}

const middle = () => 0.5;
let states;
let messages;
let now;

function control() {
  return new Control("ws://host/control", {
    onState: (state) => states.push(state),
    onMessage: (message) => messages.push(message),
    random: middle,
  });
}

beforeEach(() => {
  FakeSocket.all = [];
  [states, messages, now] = [[], [], 0];
  globalThis.WebSocket = FakeSocket;
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  mock.method(performance, "now", () => now);
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

function pass(ms) {
  now += ms;
  mock.timers.tick(ms);
}

test("it opens with the protocol's name and greets with a ping", () => {
  control().open();
  const [socket] = FakeSocket.all;
  assert.equal(socket.protocol, "streamtrack.v1");
  socket.onopen();
  assert.equal(socket.sent[0].type, "ping");
  assert.deepEqual(states, ["connecting", "open"]);
});

test("nothing is sent while it is not open", () => {
  const link = control();
  link.open();
  assert.equal(link.send({ type: "ping" }), false);
});

test("a lost socket comes back after a longer wait each time until the server greets", () => {
  const link = control();
  link.open();
  FakeSocket.all[0].onclose({ reason: "" });
  assert.equal(link.state, "waiting");
  pass(500);
  assert.equal(FakeSocket.all.length, 2);
  FakeSocket.all[1].onclose({ reason: "" });
  pass(999);
  assert.equal(FakeSocket.all.length, 2);
  pass(1);
  FakeSocket.all[2].onopen();
  FakeSocket.all[2].onmessage({ data: '{"v":1,"type":"hello"}' });
  FakeSocket.all[2].onclose({ reason: "" });
  pass(500);
  assert.equal(FakeSocket.all.length, 4);
});

test("a silent server is given up", () => {
  const link = control();
  link.open();
  FakeSocket.all[0].onopen();
  pass(5000);
  pass(5000);
  assert.equal(link.state, "open");
  pass(5000);
  assert.equal(link.state, "waiting");
  assert.equal(FakeSocket.all[0].closed, true);
});

test("a pong gives the round trip and is not passed on", () => {
  const link = control();
  link.open();
  FakeSocket.all[0].onopen();
  now = 12;
  FakeSocket.all[0].onmessage({ data: '{"v":1,"type":"pong","t":0}' });
  assert.equal(link.rtt, 12);
  assert.deepEqual(messages, []);
});

test("what is not a message of this protocol is ignored", () => {
  control().open();
  for (const data of ["", "[]", "null", '{"type":"hello"}', '{"v":2,"type":"hello"}']) {
    FakeSocket.all[0].onmessage({ data });
  }
  assert.deepEqual(messages, []);
});

test("closing is final", () => {
  const link = control();
  link.open();
  FakeSocket.all[0].onclose({ reason: "" });
  link.close();
  pass(60000);
  assert.equal(FakeSocket.all.length, 1);
  assert.equal(link.state, "closed");
});
