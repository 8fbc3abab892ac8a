/**
 * The frame map of the chosen balloon: a view, what is known of the frames in it, and the hands that move it.
 *
 * Nothing is read while nobody sees it.
 */
import { colour, onLook, sharp } from "./canvas.js";
import { byId, make, oncePerPicture, setText } from "./elements.js";
import { ABSENT, ALL_HELD, BALLOONED, GUESTS, ISOLATED, NO_MEMORY, shades, STATES, TITLES } from "./frame_states.js";
import { GuestStates, MOST_FRAMES } from "./guest_states.js";
import { MapFeed } from "./map_feed.js";
import { MapInput } from "./map_input.js";
import { GUTTER, MapPainter } from "./map_painter.js";
import { MapView } from "./map_view.js";
import { address, bytes, count, FRAME_BYTES, frameNumber, percent, plural } from "./units.js";

/** @typedef {import("./store.js").Balloon} Balloon */

/**
 * What is known of a cell, for people.
 * @param {number} frame
 * @param {number} scale
 * @param {number|undefined} density
 * @param {number|undefined} state
 */
export function cellText(frame, scale, density, state) {
  const where =
    scale === 1
      ? `${address(frame)} · frame ${frameNumber(frame)}`
      : `${address(frame)} to ${address(frame + scale)} · ${plural(scale, "frame")}, ${bytes(scale * FRAME_BYTES)}`;
  return `${where} · ${contentText(scale, density, state)}`;
}

/**
 * @param {number} scale
 * @param {number|undefined} density
 * @param {number|undefined} state
 */
function contentText(scale, density, state) {
  if (density === undefined) return "not read yet";
  if (density === NO_MEMORY) return TITLES[ABSENT];
  const known = state !== undefined && state <= ISOLATED ? TITLES[state] : TITLES[GUESTS];
  if (scale === 1) return density && state !== ISOLATED ? TITLES[BALLOONED] : known;
  if (density === ALL_HELD) return "all ballooned";
  const rest = state !== undefined && state <= ISOLATED ? `, else mostly ${known}` : "";
  return `${density ? `${percent(density / ALL_HELD)} ballooned` : "none ballooned"}${rest}`;
}

/** The map. */
export class FrameMap {
  #canvas = /** @type {HTMLCanvasElement} */ (byId("map"));
  #overview = /** @type {HTMLCanvasElement} */ (byId("overview"));
  #view = new MapView();
  #painter = new MapPainter(this.#canvas);
  /** @type {number|null} */
  #pointed = null;
  /** @type {Balloon|null} */
  #balloon = null;
  #memory = "";
  #held = "";
  #draw = oncePerPicture(() => this.#drawNow());

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.feed = new MapFeed(api, {
      changed: () => this.#moved(),
      migrations: (pairs) => {
        this.#painter.flash(pairs);
        this.#draw();
      },
      reset: () => this.readAgain(),
    });
    this.states = new GuestStates(api, this.#draw);
    const hands = { view: this.#view, moved: () => this.#moved(), point: (/** @type {number|null} */ f) => this.#point(f) };
    new MapInput(this.#canvas, hands);
    this.#listen();
  }

  #listen() {
    const zoom = (/** @type {number} */ steps) => () => {
      const { first, count: shown, space } = this.#view;
      this.#view.zoom(steps, Math.min(space.end - 1, first + shown / 2));
      this.#moved();
    };
    byId("zoom-in").addEventListener("click", zoom(1));
    byId("zoom-out").addEventListener("click", zoom(-1));
    byId("zoom-all").addEventListener("click", () => {
      this.#view.showAll();
      this.#moved();
    });
    for (const kind of ["pointerdown", "pointermove"]) {
      this.#overview.addEventListener(kind, (event) => this.#jump(/** @type {PointerEvent} */ (event)));
    }
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#rest() : this.readAgain()));
    onLook(this.#canvas, () => {
      this.#painter.look();
      this.#makeLegend();
      this.#moved();
    });
  }

  /** @param {Balloon} balloon */
  show(balloon) {
    const another = balloon.name !== this.#balloon?.name;
    this.#balloon = balloon;
    const memory = `${balloon.memory_bytes}`;
    // Another driver, or other memory, has another map.
    if (another || memory !== this.#memory) {
      this.#memory = memory;
      this.#begin();
      this.#makeLegend();
    }
    const held = `${balloon.held_frames} ${balloon.counters?.migrated_frames}`;
    if (held !== this.#held) {
      this.#held = held;
      if (balloon.memory_bytes && !document.hidden) this.feed.readOverview(balloon.memory_bytes);
    }
    const none = byId("map-none");
    none.hidden = balloon.memory_bytes !== null;
    setText(none, "No guest has connected, so there is no memory to show.");
    byId("map-card").classList.toggle("without-map", balloon.memory_bytes === null);
    setText(byId("map-moved"), movedText(balloon.counters?.migrated_frames ?? 0, this.feed.moved));
    this.#draw();
  }

  /** What was read may be another map's. */
  readAgain() {
    if (this.#balloon && !document.hidden) this.#begin();
  }

  #begin() {
    const balloon = /** @type {Balloon} */ (this.#balloon);
    this.feed.begin(balloon.name, balloon.memory_bytes);
    if (balloon.memory_bytes === null) this.states.want(null);
    this.#draw();
  }

  #rest() {
    this.feed.rest();
  }

  #moved() {
    if (this.feed.space) this.#view.setSpace(this.feed.space);
    this.#view.resize(this.#canvas.clientWidth - GUTTER, this.#canvas.clientHeight);
    this.#canvas.classList.toggle("whole", this.#view.whole);
    if (this.feed.space && !document.hidden) this.#want();
    this.#draw();
  }

  #want() {
    const view = this.#view;
    this.feed.want(view);
    const { space } = view;
    const [from, to] = [Math.max(view.first, space.first), Math.min(view.first + view.count, space.end)];
    const near = this.#balloon?.transport === "in-process" && to - from <= MOST_FRAMES && to > from;
    this.states.want(near && this.#balloon ? { name: this.#balloon.name, first: from, count: to - from } : null);
    const scale = view.scale === 1 ? "a frame" : `${bytes(view.scale * FRAME_BYTES)}, ${count(view.scale)} frames`;
    setText(byId("map-scale"), `a cell is ${scale} · ${bytes((to - from) * FRAME_BYTES)} of ${bytes((space.end - space.first) * FRAME_BYTES)} shown`);
  }

  /** @param {number|null} frame */
  #point(frame) {
    this.#pointed = frame ?? (document.activeElement === this.#canvas ? this.#view.cursor : null);
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #jump(event) {
    if (!(event.buttons & 1) || !this.feed.space) return;
    const { first, end } = this.feed.space;
    this.#view.centre(first + (event.offsetX / this.#overview.clientWidth) * (end - first));
    this.#moved();
  }

  /**
   * @param {number} frame
   * @param {number} scale
   */
  #density(frame, scale) {
    const { near, before, overview } = this.feed;
    if (near?.scale === scale) return near.density(frame, scale) ?? overview?.density(frame, scale);
    return near?.density(frame, scale) ?? before?.density(frame, scale) ?? overview?.density(frame, scale);
  }

  #drawNow() {
    if (!this.#canvas.clientWidth) return;
    const view = this.#view;
    const known = {
      density: (/** @type {number} */ frame, /** @type {number} */ scale) => this.#density(frame, scale),
      state: (/** @type {number} */ frame, /** @type {number} */ scale) => this.states.at(frame, scale),
    };
    const cell = this.#pointed === null ? null : Math.floor(this.#pointed / view.scale) * view.scale;
    if (this.#painter.draw(view, known, cell)) this.#draw();
    this.#drawOverview();
    const text = cell === null ? "" : cellText(cell, view.scale, known.density(cell, view.scale), known.state(cell, view.scale));
    setText(byId("map-reading"), text || "Point at a cell, or move with the arrow keys, to read it.");
    byId("map-legend").classList.toggle("with-states", this.states.codes !== null);
  }

  /** A line of all of the memory, and a frame around what the map shows of it. */
  #drawOverview() {
    const { context, width, height } = sharp(this.#overview);
    const { overview, space } = this.feed;
    if (!overview || !space) return;
    const [guests, absent] = [shades()[GUESTS], shades()[ABSENT][0]];
    const line = document.createElement("canvas");
    Object.assign(line, { width: overview.densities.length, height: 1 });
    const small = /** @type {CanvasRenderingContext2D} */ (line.getContext("2d"));
    const image = small.createImageData(line.width, 1);
    const pixels = new Uint32Array(image.data.buffer);
    overview.densities.forEach((density, at) => (pixels[at] = density === NO_MEMORY ? absent : guests[density]));
    small.putImageData(image, 0, 0);
    context.drawImage(line, 0, 0, width, height);
    if (this.#view.whole) return;
    const x = (/** @type {number} */ frame) => (Math.min(1, Math.max(0, (frame - space.first) / (space.end - space.first)))) * width;
    const [from, to] = [x(this.#view.first), x(this.#view.first + this.#view.count)];
    context.strokeStyle = colour("--text");
    context.lineWidth = 2;
    context.strokeRect(Math.max(1, from - 1), 1, Math.max(3, Math.min(width - 1, to + 1) - Math.max(1, from - 1)), height - 2);
  }

  #makeLegend() {
    const guests = this.#balloon?.transport === "in-process";
    const codes = [BALLOONED, ...(guests ? [0, 1, 2, 3, 4, 5] : [GUESTS]), ABSENT];
    byId("map-legend").replaceChildren(
      ...codes.map((code) => {
        const item = make("li");
        item.append(make("span", `key frame-${STATES[code] ?? "guests"}`), TITLES[code]);
        return item;
      }),
    );
  }
}

/**
 * @param {number} all
 * @param {number} seen
 */
function movedText(all, seen) {
  if (!all && !seen) return "No balloon page has moved.";
  return `${plural(Math.max(all, seen), "balloon page")} moved by compaction, ${count(seen)} before your eyes`;
}
