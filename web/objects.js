/** The list of objects: colour, name, state, score; select, rename, remove. */

/**
 * Renders the stream's objects into a `<ul>`.
 * `onSelect(id)`, `onRename(id, name)`, `onRemove(id)`; `colour(id)` is a CSS colour.
 */
export class ObjectList {
  #list;
  #on;
  #colour;
  #rows = new Map();

  constructor(list, { onSelect, onRename, onRemove, colour }) {
    this.#list = list;
    this.#on = { select: onSelect, rename: onRename, remove: onRemove };
    this.#colour = colour;
  }

  /** Object ids in the order they are listed. */
  get ids() {
    return [...this.#rows.keys()];
  }

  name(id) {
    return this.#rows.get(id)?.object.name || `Object ${id}`;
  }

  /** Show exactly these objects of an `objects` message. */
  show(objects, selected) {
    const here = new Set(objects.map((object) => object.id));
    for (const [id, row] of this.#rows) {
      if (!here.has(id)) row.element.remove();
      if (!here.has(id)) this.#rows.delete(id);
    }
    objects.forEach((object, place) => this.#row(object.id).update(object, place, object.id === selected));
  }

  /** Begin to edit a name. */
  edit(id) {
    this.#rows.get(id)?.edit();
  }

  #row(id) {
    let row = this.#rows.get(id);
    if (row === undefined) {
      row = new Row(id, this.#colour(id), this.#on);
      this.#rows.set(id, row);
      this.#list.append(row.element);
    }
    return row;
  }
}

class Row {
  object = {};
  #on;
  #id;
  #select = make("button", "object-select", { type: "button" });
  #key = make("kbd", "object-key");
  #name = make("input", "object-name", { type: "text", maxLength: 64, spellcheck: false, autocomplete: "off" });
  #state = make("span", "object-state");
  #score = make("span", "object-score");
  #remove = make("button", "icon-button object-remove", { type: "button" });

  constructor(id, colour, on) {
    this.#id = id;
    this.#on = on;
    this.element = make("li", "object");
    this.element.dataset.object = id;
    this.element.style.setProperty("--chip", colour);
    this.#select.append(this.#key, make("span", "chip"));
    this.#remove.append(icon("i-cross"));
    const about = make("span", "object-about");
    about.append(this.#state, this.#score);
    this.element.append(this.#select, this.#name, about, this.#remove);
    this.#listen();
  }

  /** Show the newest state; nothing is written to the page that did not change. */
  update(object, place, selected) {
    const { name, state, score } = object;
    const before = this.object;
    this.object = object;
    if (name !== before.name) this.#rename(name || `Object ${this.#id}`);
    set(this.#key, place < 9 ? String(place + 1) : "");
    set(this.#state, state);
    set(this.#score, state === "lost" ? "" : `${Math.round(100 * score)} %`);
    if (state !== before.state) this.element.dataset.state = state;
    if (selected !== this.element.hasAttribute("aria-current")) {
      this.element.toggleAttribute("aria-current", selected);
      this.#select.setAttribute("aria-pressed", String(selected));
    }
  }

  edit() {
    this.#name.focus();
    this.#name.select();
  }

  #rename(name) {
    if (document.activeElement !== this.#name) this.#name.value = this.object.name;
    this.#name.placeholder = `Object ${this.#id}`;
    this.#name.setAttribute("aria-label", `Name of ${name}`);
    this.#select.setAttribute("aria-label", `Select ${name}`);
    this.#remove.setAttribute("aria-label", `Remove ${name}`);
    this.#remove.title = `Remove ${name}`;
  }

  #listen() {
    this.#select.onclick = () => this.#on.select(this.#id);
    this.#remove.onclick = () => this.#on.remove(this.#id);
    this.element.onclick = (event) => {
      if (event.target === this.element || event.target.closest(".object-about")) this.#on.select(this.#id);
    };
    this.#name.onblur = () => this.#commit();
    this.#name.onkeydown = (event) => {
      if (event.key === "Escape") this.#name.value = this.object.name;
      if (event.key === "Escape" || event.key === "Enter") this.#name.blur();
      event.stopPropagation();
    };
  }

  #commit() {
    const name = this.#name.value.trim();
    this.#name.value = name;
    if (name !== this.object.name) this.#on.rename(this.#id, name);
  }
}

function make(tag, className, properties = {}) {
  const element = document.createElement(tag);
  element.className = className;
  return Object.assign(element, properties);
}

/** One of the drawings in the page's sprite. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}

/** Write text only where it changed. */
export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
