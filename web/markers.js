/** Where the person clicked, at once: a mark that waits for the server's answer. */

const SETTLED_MS = 1100;
const REFUSED_MS = 4500;

/** The marks on the glass over the video; positions are CSS pixels from its corner. */
export class Markers {
  #layer;

  constructor(layer) {
    this.#layer = layer;
  }

  /** Put a waiting mark; `kind` is "add", "cut" or "box". */
  place(x, y, kind) {
    const element = document.createElement("span");
    element.className = "marker";
    element.dataset.kind = kind;
    element.dataset.state = "waiting";
    element.style.setProperty("--x", `${x}px`);
    element.style.setProperty("--y", `${y}px`);
    this.#layer.append(element);
    return new Marker(element, x > this.#layer.clientWidth / 2);
  }

  clear() {
    this.#layer.replaceChildren();
  }
}

class Marker {
  #element;

  constructor(element, onRightHalf) {
    this.#element = element;
    element.dataset.side = onRightHalf ? "left" : "right";
  }

  /** The prompt was applied: take the object's colour and go. */
  settle(colour) {
    this.#element.style.setProperty("--chip", colour);
    this.#end("settled", SETTLED_MS);
  }

  /** The prompt was refused: say why where it was made. */
  refuse(sentence) {
    const text = document.createElement("span");
    text.className = "marker-text";
    text.setAttribute("role", "alert");
    text.textContent = sentence;
    this.#element.append(text);
    this.#end("refused", REFUSED_MS);
  }

  #end(state, afterMs) {
    this.#element.dataset.state = state;
    setTimeout(() => this.#element.remove(), afterMs);
  }
}
