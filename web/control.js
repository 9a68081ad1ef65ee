/** The control socket: reconnects by itself and notices a silent server. */

import { Retry } from "./backoff.js";
import { SUBPROTOCOL, parse, ping } from "./messages.js";

const PING_EVERY_MS = 2000;
const SILENT_AFTER_MS = 12000;

/**
 * One stream's control socket. States: "connecting", "open", "waiting" (lost, tries again), "closed".
 * `onState(state, {reason, wait})`, `onMessage(message)`, `seen(rtt)` for pings; nothing is queued while it is not open.
 */
export class Control {
  #url;
  #on;
  #socket = null;
  #state = "closed";
  #retry;
  #beat = null;
  #heard = 0;
  #rtt = null;
  #seen;

  constructor(url, { onState, onMessage, seen = () => null, random = Math.random }) {
    this.#url = url;
    this.#on = { state: onState, message: onMessage };
    this.#seen = seen;
    this.#retry = new Retry(() => this.#connect(), random);
  }

  get state() {
    return this.#state;
  }

  /** Round-trip time of the last ping in ms; null before the first pong. */
  get rtt() {
    return this.#rtt;
  }

  open() {
    if (this.#state === "closed") this.#connect();
  }

  /** Send a message; false when the socket is not open and the message was not sent. */
  send(message) {
    if (this.#state !== "open") return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Do not wait any longer for the next try. */
  retryNow() {
    this.#retry.now();
  }

  close() {
    this.#retry.cancel();
    this.#drop();
    this.#set("closed");
  }

  #set(state, detail = {}) {
    if (this.#state === state) return;
    this.#state = state;
    this.#on.state(state, detail);
  }

  #connect() {
    this.#set("connecting");
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.#lost(event.reason);
  }

  #opened() {
    this.#heard = performance.now();
    this.#beat = setInterval(() => this.#heartbeat(), PING_EVERY_MS);
    this.#set("open");
    this.send(ping(performance.now()));
  }

  #received(text) {
    this.#heard = performance.now();
    const message = parse(text);
    if (message === null) return;
    if (message.type === "pong") {
      this.#rtt = performance.now() - message.t;
      if (message.glass_ms == null) return;
    }
    if (message.type === "hello") this.#retry.succeeded();
    this.#on.message(message);
  }

  #heartbeat() {
    if (performance.now() - this.#heard > SILENT_AFTER_MS) this.#lost("The server is silent.");
    else this.send(ping(performance.now(), this.#seen(this.#rtt)));
  }

  #lost(reason) {
    this.#drop();
    this.#set("waiting", { reason, wait: this.#retry.later() });
  }

  #drop() {
    clearInterval(this.#beat);
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
