import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import * as messages from "../../web/messages.js";

const examples = JSON.parse(readFileSync(new URL("../examples/protocol.json", import.meta.url)));
const asSent = (message) => JSON.parse(JSON.stringify(message));

/** What the server reads from an example: what is left out has its default. */
function full(example) {
  const prompt = { object: null, points: null, labels: null, box: null, mask: null };
  return example.type === "prompt.add" ? { ...prompt, ...example } : example;
}

const builders = {
  "prompt.add": messages.promptAdd,
  "prompt.undo": ({ object }) => messages.promptUndo(object),
  "object.remove": ({ object }) => messages.objectRemove(object),
  "object.rename": ({ object, name }) => messages.objectRename(object, name),
  "objects.reset": () => messages.objectsReset(),
  "settings.set": ({ v, type, ...settings }) => messages.settingsSet(settings),
  ping: ({ t, seen }) => messages.ping(t, seen),
};

for (const example of examples.client) {
  const build = builders[example.type];
  if (build === undefined || example.mask) continue;
  test(`the page builds ${JSON.stringify(example).slice(0, 90)}`, () => {
    const { id, ...rest } = full(example);
    const { id: built, ...message } = asSent(build(example));
    assert.deepEqual(message, rest);
    if (example.type === "prompt.add") assert.equal(built, id);
  });
}

for (const example of examples.server) {
  test(`the page understands ${JSON.stringify(example).slice(0, 60)}`, () => {
    assert.deepEqual(messages.parse(JSON.stringify(example)), example);
  });
}

test("every message the page builds has an example", () => {
  const shown = new Set(examples.client.map(({ type }) => type));
  for (const type of Object.keys(builders)) assert.ok(shown.has(type), type);
});
