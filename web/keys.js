/** Keyboard shortcuts, and the help that lists them. */

/** Key as pressed, what it is called in the help, what it does. */
const SHORTCUTS = [
  ["n", "N", "New object with the next click"],
  ["1-9", "1 – 9", "Select an object"],
  ["f", "F", "Freeze the picture to aim, and release it"],
  ["Escape", "Esc", "Give up a box, release, select none"],
  ["Delete", "Del", "Remove the selected object"],
  ["z", "Z", "Undo its last prompt"],
  ["e", "E", "Rename it"],
  ["r", "R", "Remove all objects"],
  ["x", "X", "Switch between add and cut"],
  ["m", "M", "Mirror my camera"],
  ["o", "O", "View settings"],
  ["p", "P", "Show or hide the panel"],
  ["?", "?", "This help"],
  ["arrows", "← ↑ ↓ →", "Point, when the video has the focus"],
  ["enter", "Enter", "Click there"],
];
const SAME = { Backspace: "Delete" };

/** Call `actions[key](number)` for the shortcuts' keys; `list` gets a line for each. */
export function bindKeys(actions, list) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const key = named(event.key);
    if (!(key in actions)) return;
    if (key === "Escape" && document.querySelector(":popover-open")) return; // it closes that
    event.preventDefault();
    actions[key](Number(event.key));
  });
  for (const [, name, text] of SHORTCUTS) list.append(line(name, text));
}

function named(key) {
  if (/^[1-9]$/.test(key)) return "1-9";
  const plain = key.length === 1 ? key.toLowerCase() : key;
  return SAME[plain] ?? plain;
}

function isTyping(target) {
  return target instanceof HTMLInputElement && target.type === "text";
}

function line(name, text) {
  const item = document.createElement("li");
  const key = document.createElement("kbd");
  const what = document.createElement("span");
  key.textContent = name;
  what.textContent = text;
  item.append(key, what);
  return item;
}
