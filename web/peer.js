/** One media connection by HTTP signalling (WHEP and WHIP): negotiates, watches, tries again. */

import { Retry } from "./backoff.js";

const ANSWER_WITHIN_MS = 10000;
const CONNECT_WITHIN_MS = 12000;
const DISCONNECTED_FOR_MS = 4000;

/** The server's refusal of an offer, as its problem document tells it. */
export class Refused extends Error {
  constructor(status, message, retryAfterS) {
    super(message);
    this.status = status;
    this.retryAfterMs = 1000 * retryAfterS;
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const text = problem.detail ?? problem.title ?? `The server answered ${response.status}.`;
  return new Refused(response.status, text, Number(response.headers.get("Retry-After")) || 0);
}

/** The ICE servers of a Link header's `rel="ice-server"` entries. */
export function iceServers(header) {
  const entries = [...(header ?? "").matchAll(/<([^>]+)>([^<]*)/g)];
  return entries.flatMap(([, urls, tail]) => {
    const { rel, username, credential } = Object.fromEntries(
      [...tail.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
    );
    if (rel !== "ice-server") return [];
    return [credential === undefined ? { urls } : { urls, username, credential }];
  });
}

/**
 * A peer connection that is kept up. `prepare(pc)` adds what is received or sent.
 * States: "connecting", "live", "waiting" (lost, tries again), "closed".
 * `onState(state, {error, wait})`.
 */
export class Peer {
  #url;
  #prepare;
  #onState;
  #pc = null;
  #session = null;
  #state = "closed";
  #retry;
  #timer = null;

  constructor(url, { prepare, onState }) {
    this.#url = url;
    this.#prepare = prepare;
    this.#onState = onState;
    this.#retry = new Retry(() => this.#connect());
  }

  get state() {
    return this.#state;
  }

  get connection() {
    return this.#pc;
  }

  open() {
    if (this.#state === "closed") this.#connect();
  }

  retryNow() {
    this.#retry.now();
  }

  /** Give the connection up, whatever it says of itself, and make a new one. */
  restart() {
    if (this.#state === "closed") return;
    this.#drop();
    this.#retry.cancel();
    this.#connect();
  }

  close() {
    this.#retry.cancel();
    this.#drop();
    this.#set("closed");
  }

  #set(state, detail = {}) {
    if (this.#state === state) return;
    this.#state = state;
    this.#onState(state, detail);
  }

  async #connect() {
    this.#set("connecting");
    const pc = new RTCPeerConnection();
    this.#pc = pc;
    pc.onconnectionstatechange = () => this.#watch(pc);
    try {
      this.#prepare(pc);
      await this.#negotiate(pc);
    } catch (error) {
      this.#failed(pc, error);
    }
  }

  /**
   * Offer at once: waiting for candidates costs a second, and the server's are enough. Gathering
   * begins with the answer, which names the relays to use, if any (RFC 9725, 4.6).
   */
  async #negotiate(pc) {
    const offer = await pc.createOffer();
    const response = await fetch(this.#url, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: offer.sdp,
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    if (!response.ok) throw await refusal(response);
    const session = new URL(response.headers.get("Location"), response.url).href;
    const sdp = await response.text();
    if (this.#pc !== pc) {
      endSession(session);
      return;
    }
    this.#session = session;
    this.#expect(pc, CONNECT_WITHIN_MS, "No media path to the server could be opened.");
    const servers = iceServers(response.headers.get("Link"));
    if (servers.length > 0) pc.setConfiguration({ iceServers: servers });
    await pc.setLocalDescription(offer);
    await pc.setRemoteDescription({ type: "answer", sdp });
  }

  #watch(pc) {
    if (this.#pc !== pc) return;
    const state = pc.connectionState;
    if (state === "connected") {
      clearTimeout(this.#timer);
      this.#retry.succeeded();
      this.#set("live");
    } else if (state === "disconnected") {
      this.#expect(pc, DISCONNECTED_FOR_MS, "The media connection was interrupted.");
    } else if (state === "failed" || state === "closed") {
      this.#failed(pc, new Error("The media connection was lost."));
    }
  }

  #expect(pc, withinMs, sentence) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#failed(pc, new Error(sentence)), withinMs);
  }

  #failed(pc, error) {
    if (this.#pc !== pc) return;
    this.#drop();
    this.#set("waiting", { error, wait: this.#retry.later(error.retryAfterMs ?? 0) });
  }

  #drop() {
    clearTimeout(this.#timer);
    if (this.#session !== null) endSession(this.#session);
    const pc = this.#pc;
    this.#session = this.#pc = null;
    if (pc === null) return;
    pc.onconnectionstatechange = pc.ontrack = null;
    pc.close();
  }
}

/** Tell the server that a session is over; it outlives the page when the page is closing. */
function endSession(url) {
  fetch(url, { method: "DELETE", keepalive: true }).catch(() => {});
}
