/**
 * What happened, the newest first: at most 500, and of measurements, which come each second, the newest 100 besides.
 * What an event says is put in words by pure functions.
 */
import { byId, make, oncePerPicture, setText } from "./elements.js";
import { reservationWords, roundWords } from "./policy_words.js";
import { bytes, plural, timeOfDay } from "./units.js";

/** @typedef {import("./store.js").DaemonEvent} DaemonEvent */

export const MOST_EVENTS = 500;
const MOST_MEASUREMENTS = 100;
const STATE_KINDS = ["connected", "disconnected", "negotiated", "state", "broken"];

/**
 * To what an event belongs, as the filter has it.
 * @param {string} kind
 */
export function groupOf(kind) {
  if (kind === "sizes" || kind === "statistics") return "measurement";
  if (kind === "policy" || kind === "reservation") return "policy";
  if (kind.startsWith("resize-") || kind === "target-clamped") return "resize";
  if (kind.startsWith("balloon-")) return "balloon";
  return STATE_KINDS.includes(kind) ? "state" : "other";
}

/** @type {Record<string, (event: DaemonEvent) => string>} */
const WORDS = {
  sizes: (event) => `actual ${bytes(event.actual_bytes)} of ${bytes(event.target_bytes)}, resident ${bytes(event.resident_bytes)}`,
  statistics: ({ statistics }) => {
    const { free_memory: free, available_memory: available } = statistics?.statistics ?? {};
    return `the guest says: free ${bytes(free)}, available ${bytes(available)}`;
  },
  negotiated: (event) => (event.features ?? []).join(", "),
  state: (event) => [event.state, event.reason].filter(Boolean).join(": "),
  broken: (event) => event.reason,
  policy: roundWords,
  reservation: reservationWords,
  "target-clamped": (event) => `to ${bytes(event.target_bytes)}, the limit is ${bytes(event.limit_bytes)}`,
  "events-lost": () => "some events are gone; everything was read again",
};

/**
 * The particulars of an event in words.
 * @param {DaemonEvent} event
 */
export function wordsOf(event) {
  const words = WORDS[event.kind];
  if (words) return words(event) ?? "";
  if (!event.resize) return "";
  const resize = event.resize;
  const way = `${bytes(resize.from_bytes)} → ${bytes(resize.target_bytes)}`;
  return resize.stalled && !resize.outcome ? `${way}: ${resize.stalled}` : way;
}

/**
 * Whether an event is about a balloon; a round is about all that it moved.
 * @param {DaemonEvent} event
 * @param {string} balloon
 */
export function isAbout(event, balloon) {
  if (event.balloon !== null) return event.balloon === balloon;
  const named = [event.decisions, event.alerts].flatMap((each) => (Array.isArray(each) ? each : []));
  return named.some((each) => each.balloon === balloon);
}

/**
 * An event as a line of a list.
 * @param {DaemonEvent} event
 */
export function eventLine(event) {
  const line = make("li", "event");
  line.dataset.kind = event.kind;
  line.dataset.group = groupOf(event.kind);
  const time = make("time", "", timeOfDay(event.at));
  time.dateTime = event.at;
  time.title = event.at;
  line.append(time, make("b", "", event.kind), make("span", "event-balloon", event.balloon ?? ""));
  const words = wordsOf(event);
  if (words) line.append(make("span", "event-words", words));
  return line;
}

/** The panel of events. */
export class Events {
  /** @type {DaemonEvent[]} */
  #kept = [];
  /** @type {DaemonEvent[]} */
  #measurements = [];
  #list = byId("events");
  #kind = /** @type {HTMLSelectElement} */ (byId("events-kind"));
  #mine = /** @type {HTMLInputElement} */ (byId("events-mine"));
  #draw = oncePerPicture(() => this.#drawNow());
  /** @type {DaemonEvent[]} */
  #shown = [];
  #balloon = "";

  constructor() {
    this.#kind.addEventListener("change", () => this.#draw());
    this.#mine.addEventListener("change", () => this.#draw());
  }

  /** @param {DaemonEvent} event */
  add(event) {
    const measurement = groupOf(event.kind) === "measurement";
    const [kept, most] = measurement ? [this.#measurements, MOST_MEASUREMENTS] : [this.#kept, MOST_EVENTS];
    kept.unshift(event);
    if (kept.length > most) kept.length = most;
    if (!measurement || this.#kind.value === "measurement") this.#draw();
  }

  /** @param {string} balloon the chosen one */
  choose(balloon) {
    this.#balloon = balloon;
    if (this.#mine.checked) this.#draw();
  }

  #wanted() {
    const group = this.#kind.value;
    const all = group === "measurement" ? this.#measurements : this.#kept;
    return all.filter(
      (event) => (!group || groupOf(event.kind) === group) && (!this.#mine.checked || isAbout(event, this.#balloon)),
    );
  }

  #drawNow() {
    const wanted = this.#wanted();
    const none = byId("events-none");
    none.hidden = wanted.length > 0;
    setText(none, this.#kept.length ? "No event of this kind." : "Nothing has happened since this page was opened.");
    // Mostly there are new ones in front, and as many old ones gone at the end.
    const fresh = wanted.indexOf(this.#shown[0]);
    const same = fresh >= 0 && this.#shown.every((event, at) => at + fresh >= wanted.length || wanted[at + fresh] === event);
    if (!same) this.#list.replaceChildren(...wanted.map(eventLine));
    else {
      this.#list.prepend(...wanted.slice(0, fresh).map(eventLine));
      while (this.#list.childElementCount > wanted.length) this.#list.lastElementChild?.remove();
    }
    this.#shown = wanted;
    this.#list.setAttribute("aria-label", `${plural(wanted.length, "event")}, the newest first`);
  }
}
