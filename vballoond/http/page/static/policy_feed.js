/**
 * What the daemon says of policies and reservations. It is read when an event tells of them, and beside that slowly, for
 * what no event tells: rounds in which nothing moved, and how much of a reservation is there.
 */
import { Refresh } from "./refresh.js";

/**
 * @typedef {Record<string, any>} PolicyView   of GET /v1/policy
 * @typedef {Record<string, any>} Round        of GET /v1/policy/decisions
 * @typedef {Record<string, any>} Decision     of a Round
 * @typedef {Record<string, any>} Reservation  of GET /v1/reservations
 * @typedef {{round: Round, decision: Decision}} Known  the newest decision about a balloon
 */

const REST_MS = 1000;
const SLOWLY_S = 15;
const GATHERING_S = 5;
const MOST_DECISIONS = 600; // in one answer, about; each has some 300 bytes
const MOST_ROUNDS = 40;

/**
 * How many rounds are read: fewer where each is about many balloons.
 * @param {number} balloons
 * @param {boolean} shadow  whether every other one is of the policy in shadow
 */
export function roundsFor(balloons, shadow) {
  const rounds = Math.max(2, Math.min(MOST_ROUNDS, Math.floor(MOST_DECISIONS / Math.max(1, balloons))));
  return shadow ? 2 * rounds : rounds;
}

/**
 * The newest decision about a balloon by a policy that was heard.
 * @param {Round[]} rounds  the newest first
 * @param {string} balloon
 * @returns {Known|null}
 */
export function newestAbout(rounds, balloon) {
  for (const round of rounds) {
    const decision = round.shadow ? undefined : round.decisions.find((/** @type {Decision} */ each) => each.balloon === balloon);
    if (decision) return { round, decision };
  }
  return null;
}

/** Policies, as the daemon last told of them. */
export class PolicyFeed {
  /** @type {PolicyView|null} */
  view = null;
  /** The newest first. @type {Round[]} */
  rounds = [];
  /** The newest first. @type {Reservation[]} */
  reservations = [];
  /** @type {Map<string, Known|null>} */
  #known = new Map();
  /** @type {(() => void)[]} */
  #listeners = [];
  #policy = new Refresh(() => this.#readPolicy(), REST_MS);
  #booked = new Refresh(() => this.#readReservations(), REST_MS);
  #seconds = 0;
  #looking = false;

  /**
   * @param {import("./api.js").Api} api
   * @param {import("./store.js").Store} store
   */
  constructor(api, store) {
    this.api = api;
    this.store = store;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.readAll();
    });
  }

  /** @param {() => void} listener */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** Read everything; the daemon may be another process now. */
  readAll() {
    this.#known.clear();
    this.#policy.ask();
    this.#booked.ask();
  }

  /** @param {import("./store.js").DaemonEvent} event */
  hear(event) {
    if (document.hidden) return;
    if (event.kind === "policy") this.#policy.ask();
    if (event.kind === "reservation") this.#booked.ask();
  }

  /** A second has passed in which the page is seen. */
  tick() {
    this.#seconds += 1;
    const gathers = this.reservations.some(({ state }) => state === "asked" || state === "gathering");
    if (gathers && this.#seconds % GATHERING_S === 0) this.#booked.ask();
    if (this.view && this.#seconds % Math.max(SLOWLY_S, Math.ceil(this.view.interval_s)) === 0) this.#policy.ask();
  }

  /** @param {PolicyView} view as the daemon has just answered it */
  put(view) {
    this.view = view;
    this.#tell();
    this.#policy.ask();
  }

  /**
   * The newest decision about a balloon; null: none is known.
   * @param {string} balloon
   * @returns {Known|null}
   */
  about(balloon) {
    return this.#known.get(balloon) ?? null;
  }

  /**
   * Ask for the newest decision about a balloon, if the newest rounds have none. The daemon looks through all that it
   * remembers, so one balloon at a time is asked for, and each once.
   * @param {string} balloon
   */
  async lookFor(balloon) {
    if (this.#looking || this.#known.has(balloon) || !this.rounds.length) return;
    this.#looking = true;
    this.#known.set(balloon, null);
    await new Refresh(async () => {
      const query = `balloon=${encodeURIComponent(balloon)}&limit=2`; // two: the newest may be of the one in shadow
      const { rounds } = await this.api.json(`/v1/policy/decisions?${query}`);
      this.#known.set(balloon, newestAbout(rounds, balloon));
      this.#tell();
    }, 0).ask();
    this.#looking = false;
  }

  async #readPolicy() {
    const view = await this.api.json("/v1/policy");
    const limit = roundsFor(this.store.balloons.size, view.shadow !== null);
    const { rounds } = await this.api.json(`/v1/policy/decisions?limit=${limit}`);
    this.view = view;
    this.rounds = rounds;
    this.#learn(rounds);
    this.#tell();
  }

  async #readReservations() {
    this.reservations = (await this.api.json("/v1/reservations")).reservations;
    this.#tell();
  }

  /** @param {Round[]} rounds */
  #learn(rounds) {
    for (const name of this.#known.keys()) if (!this.store.balloons.has(name)) this.#known.delete(name);
    for (const name of this.store.balloons.keys()) {
      const newest = newestAbout(rounds, name);
      if (newest) this.#known.set(name, newest);
    }
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}
