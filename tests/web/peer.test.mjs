import assert from "node:assert/strict";
import test from "node:test";

import { iceServers } from "../../web/peer.js";

test("without a Link header there are no ICE servers", () => {
  assert.deepEqual(iceServers(null), []);
});

test("STUN and TURN servers come with what they need", () => {
  const link =
    '<stun:stun.example:3478>; rel="ice-server", <turn:turn.example?transport=udp>; rel="ice-server"; ' +
    'username="1795211000"; credential="q/2+x="; credential-type="password"';
  assert.deepEqual(iceServers(link), [
    { urls: "stun:stun.example:3478" },
    { urls: "turn:turn.example?transport=udp", username: "1795211000", credential: "q/2+x=" },
  ]);
});

test("links of other kinds are no ICE servers", () => {
  assert.deepEqual(iceServers('<https://example.org/>; rel="next"'), []);
});
