/** Memory of the host that is asked for: how much of it is there, and by when; what ended a while ago, for a while. */
import { byId, make, setPart, setText } from "./elements.js";
import { gatheredPart } from "./policy_words.js";
import { bytes, duration, percent, timeOfDay } from "./units.js";

/** @typedef {import("./policy_feed.js").Reservation} Reservation */

const OPEN = ["asked", "gathering", "ready"];
const MOST_ENDED = 3;
const ENDED_MS = 10 * 60_000;

/**
 * Those that are shown: all that are open, and the newest of those that ended.
 * @param {Reservation[]} reservations  the newest first
 * @param {number} now
 */
export function shownOf(reservations, now) {
  const ended = reservations.filter(({ state, changed_at: at }) => !OPEN.includes(state) && now - Date.parse(at) < ENDED_MS);
  return [...reservations.filter(({ state }) => OPEN.includes(state)), ...ended.slice(0, MOST_ENDED)];
}

/**
 * How it stands, in a line.
 * @param {Reservation} reservation
 * @param {number} now
 */
export function standing(reservation, now) {
  const { state, bytes: wanted, gathered_bytes: gathered } = reservation;
  if (state === "ready") {
    const left = (Date.parse(reservation.changed_at) - now) / 1000 + reservation.keep_s;
    return `ready, kept for ${duration(left)}`;
  }
  if (!OPEN.includes(state)) return `${state} at ${timeOfDay(reservation.changed_at)}${reservation.claimed_by ? ` by ${reservation.claimed_by}` : ""}`;
  const left = (Date.parse(reservation.by) - now) / 1000;
  return `${bytes(gathered)} of ${bytes(wanted)} · ${left > 0 ? `in ${duration(left)} at the latest` : "the time is over"}`;
}

/** The list. */
export class Reservations {
  #list = byId("reservations");
  /** @type {Map<number, ReservationLine>} */
  #lines = new Map();

  /**
   * @param {Reservation[]} reservations
   * @param {number} now
   */
  show(reservations, now) {
    const shown = shownOf(reservations, now);
    const lines = new Map(shown.map(({ id }) => [id, this.#lines.get(id) ?? new ReservationLine(id)]));
    for (const reservation of shown) lines.get(reservation.id)?.show(reservation, now);
    const order = [...lines.values()].map(({ element }) => element);
    const same = order.length === this.#list.childElementCount && order.every((each, at) => each === this.#list.children[at]);
    if (!same) this.#list.replaceChildren(...order);
    this.#lines = lines;
    byId("reservations-part").hidden = order.length === 0;
  }
}

/** One of them. */
class ReservationLine {
  element = make("li", "reservation");
  #what = make("b", "said");
  #standing = make("span", "said");
  #bar = make("div", "progress");
  #reason = make("p", "said quiet");

  /** @param {number} id */
  constructor(id) {
    const head = make("p", "decision-head");
    head.append(this.#what, this.#standing);
    this.#bar.append(make("span"));
    this.#bar.setAttribute("role", "progressbar");
    this.#bar.setAttribute("aria-label", `Reservation ${id}`);
    this.element.append(head, this.#bar, this.#reason);
  }

  /**
   * @param {Reservation} reservation
   * @param {number} now
   */
  show(reservation, now) {
    const part = gatheredPart(reservation);
    this.element.dataset.state = reservation.state;
    setText(this.#what, `${bytes(reservation.bytes)}${reservation.purpose ? ` for ${reservation.purpose}` : ""}`);
    setText(this.#standing, standing(reservation, now));
    this.#bar.hidden = !OPEN.includes(reservation.state);
    this.#bar.setAttribute("aria-valuenow", String(Math.round(100 * part)));
    this.#bar.setAttribute("aria-valuetext", percent(part));
    setPart(this.#bar, "--done", part);
    setText(this.#reason, reservation.reason ?? "");
    this.#reason.hidden = !reservation.reason;
  }
}
