/** The page: joins the stream on the stage, the objects, the menus and the keys. */

import { cameraProblem } from "./camera.js";
import { bindKeys } from "./keys.js";
import { SourceMenu } from "./menu.js";
import { objectRemove, objectRename, objectsReset } from "./messages.js";
import { ObjectList, set } from "./objects.js";
import { Pointing } from "./pointing.js";
import { Prompts } from "./prompts.js";
import { Publisher } from "./publish.js";
import { Settings, remember, remembered } from "./settings.js";
import { Stage, announce } from "./stage.js";
import { StatusLine } from "./status.js";
import { StreamView } from "./view.js";

const $ = (id) => document.getElementById(id);
const NOT_CONNECTED = "Not connected to the server: try again in a moment.";
const SOURCE = {
  lost: "The source is lost. The server is trying to reach it again.",
  ended: "The source has ended.",
  failed: "The source cannot be used.",
};
const PUBLISHER_LOST = "Whoever publishes this stream is gone. It is kept for a moment in case they come back.";

class App {
  #view = null;
  #frames = 0;
  #colours = ["#14b8a6"];
  #objects = [];
  #kind = "camera";
  #ended = null;
  #away = false;
  #cutting = false;
  #draw = 0;

  #stage = new Stage({ onCamera: () => this.useCamera() });
  #status = new StatusLine();
  #publisher = new Publisher(() => this.#publishing());
  #prompts = new Prompts({ send: (message) => this.#send(message), onSelect: () => this.#selected() });
  #pointing = new Pointing({
    view: () => ($("stage").dataset.view === "live" ? this.#view : null),
    prompts: this.#prompts,
    stage: this.#stage,
    cutting: () => this.#cutting,
    send: (message) => this.#send(message),
  });
  #settings = new Settings({ send: (message) => this.#send(message), onMirror: () => this.#mirror() });
  #list = new ObjectList($("objects"), {
    colour: (id) => this.#colour(id),
    onSelect: (id) => this.#prompts.select(id === this.#prompts.selected ? null : id),
    onRename: (id, name) => this.#request(objectRename(id, name)),
    onRemove: (id) => this.#request(objectRemove(id)),
  });
  #menu = new SourceMenu({
    onStreams: (streams) => this.#streams(streams),
    onPick: (id) => this.show(id),
    onCamera: (choice) => this.useCamera(choice),
    onScreen: () => this.#publish("screen", () => this.#publisher.screen()),
    deviceId: () => this.#publisher.deviceId,
  });

  start() {
    bindKeys(this.#actions(), $("help-keys"));
    $("mode-add").onclick = () => this.#cut(false);
    $("mode-cut").onclick = () => this.#cut(true);
    $("new-button").onclick = () => this.#newObject();
    $("undo-button").onclick = () => this.#undo();
    $("reset-button").onclick = () => this.#askReset();
    $("help-button").onclick = () => $("help").showModal();
    $("panel-button").onclick = () => this.#panel();
    $("camera-button").onclick = () => this.useCamera();
    $("publishing-stop").onclick = () => this.#stopPublishing();
    $("confirm").onclose = () => $("confirm").returnValue === "yes" && this.#request(objectsReset());
    addEventListener("hashchange", () => this.#followHash());
    addEventListener("online", () => this.#retryNow());
    addEventListener("pagehide", () => this.#goodbye());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    if (remembered().panel === false) this.#panel();
    this.#selected();
    this.#followHash();
  }

  /** Put a stream on the stage. */
  show(id) {
    if (this.#view?.id === id) return;
    this.#leave();
    this.#frames = 0;
    this.#view = new StreamView(id, $("video"), {
      message: (message) => this.#received(message),
      state: (state) => this.#connection(state),
      frame: () => this.#frame(),
    });
    history.replaceState(null, "", `#${id}`);
    remember({ stream: id });
    document.title = `${id} · streamtrack`;
    $("video").setAttribute("aria-label", `Live video of ${id}`);
    this.#stage.card("connecting", `Connecting to ${id}`, "The video begins in a moment.");
    this.#menu.show(id, this.#publisher);
    this.#mirror();
    this.#view.open();
  }

  /** Publish this device's camera and put it on the stage. */
  useCamera(choice = {}) {
    return this.#publish("camera", () => this.#publisher.camera(choice));
  }

  async #publish(kind, open) {
    this.#stage.banner(null);
    try {
      const id = await open();
      await this.#publisher.started;
      if (id === this.#publisher.id) this.show(id);
    } catch (error) {
      const sentence = cameraProblem(error, kind);
      this.#stage.banner(sentence, { stay: true });
    }
  }

  #stopPublishing() {
    const { id } = this.#publisher;
    this.#publisher.stop();
    if (this.#view?.id === id) this.#nothing(id);
  }

  #publishing() {
    const { id, kind, state, error } = this.#publisher;
    this.#menu.show(this.#view?.id ?? null, this.#publisher);
    $("publishing").hidden = id === null;
    $("publishing").dataset.state = state;
    const what = kind === "screen" ? "Screen" : "Camera";
    set($("publishing-text"), state === "live" ? `${what} on` : `${what}: connecting`);
    if (state === "live" && this.#view?.id === id) this.#view.retryNow();
    if (error !== null && state === "waiting") this.#stage.banner(`${what} not sent: ${error.message}`);
  }

  /** The hash names a stream; without one the last one or the first is taken when the list comes. */
  #followHash() {
    const id = location.hash.slice(1);
    if (/^[a-z0-9][a-z0-9_-]{0,63}$/.test(id)) this.show(id);
  }

  #streams(streams) {
    const back = streams !== null && this.#away;
    this.#away = streams === null;
    if (back) this.#retryNow();
    if (streams?.every(({ id }) => id !== this.#publisher.id)) this.#publisher.renew();
    if (this.#view !== null) return;
    if (streams === null) {
      this.#stage.card("lost", "The server does not answer", "The page tries again every two seconds.");
      this.#status.link("lost", "No server");
      return;
    }
    const { stream: last } = remembered();
    const worth = ({ id, state }) => 2 * (state === "live") + (id === last);
    const [best] = streams.filter(({ id }) => id !== this.#ended).sort((a, b) => worth(b) - worth(a));
    if (best !== undefined) {
      this.show(best.id);
    } else {
      this.#status.link("none", "No stream");
      this.#stage.card("empty", "No stream yet", "Show this device's camera, or start the server with a source.", { camera: true });
    }
  }

  #leave() {
    this.#pointing.leave();
    this.#view?.close();
    this.#view = null;
    this.#prompts.lost();
    this.#prompts.select(null);
    this.#cut(false);
    this.#show([]);
    this.#status.clear();
    this.#stage.banner(null);
  }

  /** Nothing is on the stage until the list names another stream than the one that ended. */
  #nothing(ended) {
    this.#leave();
    this.#ended = ended;
    history.replaceState(null, "", location.pathname);
    this.#menu.show(null, this.#publisher);
    this.#stage.card("connecting", "Looking for streams", "Asking the server for its streams.");
    this.#menu.refresh();
  }

  /** The page is closing: free its places at the server at once. */
  #goodbye() {
    this.#publisher.stop();
    this.#view?.close();
  }

  #retryNow() {
    this.#view?.retryNow();
    this.#publisher.retryNow();
  }

  #connection({ control, media, error }) {
    const { id } = this.#view;
    if (control === "waiting") this.#prompts.lost();
    if (media !== "live" || control !== "open") this.#pointing.release();
    this.#watchList(media !== "live" || control !== "open");
    if (media === "live" && control === "open") {
      this.#status.link("live", "Live");
    } else if (media === "waiting" || control === "waiting") {
      this.#status.link("lost", "Reconnecting");
      this.#lost(id, error);
    } else {
      this.#status.link("connecting", "Connecting");
    }
    if (media === "live" && this.#frames > 0) this.#stage.live();
  }

  /** While a connection is not up, the list of streams tells soonest that the server is back. */
  #watchList(urgent) {
    if (this.#menu.urgent === urgent) return;
    this.#menu.urgent = urgent;
    if (urgent) this.#menu.refresh();
  }

  #lost(id, error) {
    const action = { text: "Try now", run: () => this.#retryNow() };
    const gone = error?.status === 404 || this.#frames === 0;
    const title = gone ? `${id} is not there now` : "The connection was lost";
    const reason = error?.name === "TypeError" || error === null ? "The server does not answer." : error.message;
    this.#stage.card("lost", title, `${reason} The page keeps trying.`, { action });
    announce(title);
  }

  #frame() {
    this.#frames += 1;
    if ($("stage").dataset.view !== "live") this.#stage.live();
  }

  #received(message) {
    const receive = {
      hello: () => this.#hello(message),
      objects: () => this.#show(message.objects, message.frame_id),
      ack: () => this.#pointing.pinned(message),
      "prompt.ack": () => this.#prompts.acknowledged(message, (id) => this.#colour(id)),
      error: () => this.#refused(message),
      stats: () => this.#status.show(message),
      pong: () => this.#status.show({ glass_ms: message.glass_ms }),
      event: () => this.#event(message),
      settings: () => this.#settings.show(message.overlay ?? {}),
    }[message.type];
    receive?.();
  }

  #refused(message) {
    if (this.#prompts.refused(message) || this.#pointing.refused(message)) return;
    this.#stage.banner(message.message);
  }

  #hello({ model, device, kind, state, objects, colours, settings }) {
    this.#kind = kind;
    this.#sourceLost(state);
    this.#menu.refresh();
    if (colours?.length > 0) this.#colours = colours;
    if (settings?.overlay) this.#settings.show(settings.overlay);
    this.#status.show({ model, device });
    this.#show(objects ?? []);
  }

  #event({ kind, object, model, device, message, state, reason }) {
    if (kind === "object_lost") announce(`${this.#list.name(object)} is lost.`);
    if (kind === "object_found") announce(`${this.#list.name(object)} is found again.`);
    if (kind === "model_changed") this.#status.show({ model, device });
    if (kind === "device_failed") this.#stage.banner(message);
    if (kind === "source_lost") this.#sourceLost(state, reason);
    if (kind === "source_back") this.#stage.banner("The source is back.");
    if (kind === "stream_ended") this.#stage.banner("The stream has ended.");
  }

  #sourceLost(state, reason = "") {
    if (!(state in SOURCE)) return;
    const gone = this.#kind === "publisher" ? PUBLISHER_LOST : SOURCE[state];
    this.#stage.banner(state === "failed" && reason ? reason : gone, { stay: true });
  }

  #colour(id) {
    return this.#colours[(id - 1) % this.#colours.length];
  }

  /** Objects come many times a second: the list is drawn once for each picture of the page. */
  #show(objects, frame = 0) {
    this.#objects = objects;
    this.#pointing.told(objects, frame);
    this.#drawSoon();
  }

  #drawSoon() {
    if (this.#draw === 0) this.#draw = requestAnimationFrame(() => this.#drawObjects());
  }

  #drawObjects() {
    this.#draw = 0;
    const { selected } = this.#prompts;
    const gone = this.#list.ids.includes(selected) && !this.#objects.some(({ id }) => id === selected);
    if (gone) this.#prompts.select(null);
    this.#list.show(this.#objects, this.#prompts.selected);
    set($("object-count"), String(this.#objects.length));
    $("objects-empty").hidden = this.#objects.length > 0;
    $("reset-button").disabled = this.#objects.length === 0;
  }

  #selected() {
    const { selected } = this.#prompts;
    $("undo-button").disabled = selected === null;
    this.#drawSoon();
    const name = selected === null ? null : this.#list.name(selected);
    const [verb, next] = matchMedia("(pointer: coarse)").matches ? ["Tap", "⊕"] : ["Click", "Esc"];
    const refine = `${verb}s refine ${name} · ${next} for a new object`;
    this.#stage.hint(name === null ? `${verb} a thing to track it` : refine);
    if (name !== null) announce(`${name} is selected.`);
  }

  #send(message) {
    return this.#view?.send(message) ?? false;
  }

  #request(message) {
    if (!this.#send(message)) this.#stage.banner(NOT_CONNECTED);
  }

  #newObject() {
    this.#prompts.select(null);
    this.#cut(false);
  }

  #cut(on) {
    this.#cutting = on;
    $("mode-add").setAttribute("aria-checked", String(!on));
    $("mode-cut").setAttribute("aria-checked", String(on));
    $("glass").dataset.mode = on ? "cut" : "add";
  }

  #undo() {
    if (this.#prompts.selected !== null && !this.#prompts.undo()) this.#stage.banner(NOT_CONNECTED);
  }

  #askReset() {
    if (this.#objects.length > 0) $("confirm").showModal();
  }

  #isMirrored() {
    const own = this.#publisher.kind === "camera" && this.#view?.id === this.#publisher.id;
    return own && this.#settings.mirrored;
  }

  #mirror() {
    this.#pointing.mirror(this.#isMirrored());
  }

  #panel() {
    const hidden = document.body.toggleAttribute("data-no-panel");
    $("panel-button").setAttribute("aria-expanded", String(!hidden));
    remember({ panel: !hidden });
  }

  #actions() {
    const withSelected = (run) => () => this.#prompts.selected !== null && run(this.#prompts.selected);
    return {
      n: () => this.#newObject(),
      "1-9": (place) => this.#list.ids[place - 1] !== undefined && this.#prompts.select(this.#list.ids[place - 1]),
      Escape: () => this.#pointing.giveUp() || this.#prompts.select(null),
      f: () => this.#pointing.toggleFreeze(),
      Delete: withSelected((id) => this.#request(objectRemove(id))),
      z: () => this.#undo(),
      e: withSelected((id) => this.#list.edit(id)),
      r: () => this.#askReset(),
      x: () => this.#cut(!this.#cutting),
      m: () => this.#settings.mirror(!this.#settings.mirrored),
      o: () => $("settings").togglePopover(),
      p: () => this.#panel(),
      "?": () => $("help").showModal(),
    };
  }
}

new App().start();
