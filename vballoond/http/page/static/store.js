/**
 * The balloons as the daemon last told of them: read once, then changed by events.
 *
 * What an event does not carry whole (`balloon-changed`, `connected`, `negotiated`, ...) is read again, each balloon once
 * at a time. Events that come while all is read wait for it, so none is overwritten by something older.
 */
import { History } from "./history.js";

/**
 * A balloon of GET /v1/balloons.
 * @typedef {Record<string, any> & {name: string, transport: string, state: string, reason: string|null,
 *   memory_bytes: number|null, target_bytes: number, actual_bytes: number, held_frames: number,
 *   resident_bytes: number|null, reclaimed_bytes: number, resize: Record<string, any>|null}} Balloon
 *
 * An event of GET /v1/events.
 * @typedef {Record<string, any> & {id: string, kind: string, at: string, balloon: string|null}} DaemonEvent
 */

const SIZES = ["target_bytes", "actual_bytes", "held_frames", "resident_bytes", "reclaimed_bytes"];
const READ_AGAIN = new Set(["balloon-added", "balloon-changed", "connected", "disconnected", "negotiated", "state"]);
const GONE = new Set(["balloon-removed", "balloon-retired"]);
const GUEST_CURVES = { free: "free_memory", available: "available_memory" };

/** All balloons. `changed` is called with the names of those that changed; null: the list itself. */
export class Store {
  /** @type {Map<string, Balloon>} */
  balloons = new Map();
  /** @type {Map<string, History>} */
  #histories = new Map();
  /** @type {((name: string|null) => void)[]} */
  #listeners = [];
  /** @type {DaemonEvent[]|null} */
  #waiting = null;
  /** Balloons that are being read, and whether they changed meanwhile. @type {Map<string, boolean>} */
  #reading = new Map();
  #clockAheadMs = -Infinity;
  #round = 0;

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
  }

  /** @param {(name: string|null) => void} listener */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** Now, in milliseconds, by the daemon's clock as far as its events tell. */
  get now() {
    return Date.now() + (Number.isFinite(this.#clockAheadMs) ? this.#clockAheadMs : 0);
  }

  /** @param {string} name */
  history(name) {
    let history = this.#histories.get(name);
    if (!history) this.#histories.set(name, (history = new History()));
    return history;
  }

  /** Read everything. Fails as Api.request does; the balloons are then as they were. */
  async readAll() {
    const round = ++this.#round;
    this.#waiting ??= [];
    try {
      const { balloons } = await this.api.json("/v1/balloons");
      if (round !== this.#round) return;
      this.balloons = new Map(balloons.map((/** @type {Balloon} */ balloon) => [balloon.name, balloon]));
      for (const name of this.#histories.keys()) if (!this.balloons.has(name)) this.#histories.delete(name);
      for (const balloon of balloons) this.#sample(balloon, this.now);
      this.#tell(null);
    } finally {
      if (round === this.#round) this.#catchUp();
    }
  }

  /** @param {DaemonEvent} event */
  apply(event) {
    if (this.#waiting) {
      this.#waiting.push(event);
      return;
    }
    const at = Date.parse(event.at);
    this.#clockAheadMs = Math.max(this.#clockAheadMs, at - Date.now());
    if (event.balloon !== null) this.#applyTo(event.balloon, event, at);
  }

  #catchUp() {
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const event of waiting) this.apply(event);
  }

  /**
   * @param {string} name
   * @param {DaemonEvent} event
   * @param {number} at
   */
  #applyTo(name, event, at) {
    if (GONE.has(event.kind)) {
      this.#histories.delete(name);
      this.#reading.delete(name);
      if (this.balloons.delete(name)) this.#tell(null);
      return;
    }
    const balloon = this.balloons.get(name);
    if (READ_AGAIN.has(event.kind) && (balloon || event.kind === "balloon-added")) this.read(name);
    if (!balloon) return;
    if (event.kind === "sizes") this.#sizes(balloon, event, at);
    else if (event.kind === "statistics") this.#statistics(balloon, event.statistics, at);
    else if (event.kind === "state") Object.assign(balloon, { state: event.state, reason: event.reason ?? null });
    else if (event.kind === "broken") Object.assign(balloon, { state: "broken", reason: event.reason });
    else if (event.resize) {
      this.#resize(balloon, event.resize, at);
      // Sizes come once a second at most, so they may be behind.
      this.read(name);
    } else return;
    this.#tell(name);
  }

  /**
   * @param {Balloon} balloon
   * @param {DaemonEvent} event
   * @param {number} at
   */
  #sizes(balloon, event, at) {
    for (const key of SIZES) if (event[key] !== undefined) balloon[key] = event[key];
    this.#sample(balloon, at);
    // How fast a resize goes, and when it will be there, only the balloon itself says.
    if (balloon.resize && !balloon.resize.ended_at) this.read(balloon.name);
  }

  /**
   * @param {Balloon} balloon
   * @param {Record<string, any>} resize
   * @param {number} at
   */
  #resize(balloon, resize, at) {
    if (balloon.resize && balloon.resize.id > resize.id) return;
    balloon.resize = resize;
    balloon.target_bytes = resize.target_bytes;
    this.#sample(balloon, at);
  }

  /**
   * @param {Balloon} balloon
   * @param {Record<string, any>} statistics
   * @param {number} at
   */
  #statistics(balloon, statistics, at) {
    balloon.statistics = statistics;
    const claims = statistics.statistics ?? {};
    const curves = Object.entries(GUEST_CURVES).map(([curve, tag]) => [curve, claims[tag]]);
    this.history(balloon.name).add(at, Object.fromEntries(curves));
  }

  /**
   * @param {Balloon} balloon
   * @param {number} at
   */
  #sample(balloon, at) {
    const { target_bytes: target, actual_bytes: actual, resident_bytes: resident } = balloon;
    const history = this.history(balloon.name);
    const known = { target, actual, resident: resident ?? undefined };
    const differs = Object.entries(known).some(([curve, value]) => history.valueAt(curve, at) !== value);
    if (differs) history.add(at, known);
  }

  /**
   * Read one balloon again; once more afterwards, if that is under way already.
   * @param {string} name
   */
  async read(name) {
    if (this.#reading.has(name)) {
      this.#reading.set(name, true);
      return;
    }
    do {
      this.#reading.set(name, false);
      try {
        const balloon = await this.api.json(`/v1/balloons/${name}`);
        if (this.#reading.has(name)) this.put(balloon);
      } catch {
        // It is gone, of which an event tells, or the daemon is, of which the stream of events tells.
        this.#reading.set(name, false);
      }
    } while (this.#reading.get(name));
    this.#reading.delete(name);
  }

  /** @param {Balloon} balloon as the daemon has just answered it */
  put(balloon) {
    const known = this.balloons.get(balloon.name);
    if (known) Object.assign(known, balloon);
    else this.balloons.set(balloon.name, balloon);
    this.#sample(balloon, this.now);
    this.#tell(known ? balloon.name : null);
  }

  /** @param {string|null} name */
  #tell(name) {
    for (const listener of this.#listeners) listener(name);
  }
}
