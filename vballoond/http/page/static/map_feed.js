/**
 * The densities of the frames that are to be seen: read once with a margin, then changed by the daemon's stream. So not
 * even of a guest of a TiB the whole map is read: what is far away is read in large cells, what is near in a window.
 *
 * An overview of all of the memory, of a thousand cells, is read again when the balloon has changed, which costs a 304
 * where the map has not.
 */
import { Lost, Refused, reached } from "./api.js";
import { Cells } from "./cells.js";
import { Following } from "./follow.js";

const OVERVIEW_CELLS = 1024;
const SETTLE_MS = 60; // a wheel turns through several scales

/** Reads what a view shows. `changed` is called when there is something new to draw. */
export class MapFeed {
  /** @type {Cells|null} */
  near = null;
  /** What was near before, to draw until the new is there. @type {Cells|null} */
  before = null;
  /** @type {Cells|null} */
  overview = null;
  /** @type {import("./map_view.js").Space|null} */
  space = null;
  moved = 0;
  #name = "";
  #wanted = "";
  #timer = 0;
  /** @type {AbortController} */
  #loading = new AbortController();
  /** @type {Following|null} */
  #following = null;
  #overviewTag = "";
  #overviewAgain = false;
  /** @type {AbortController|null} */
  #overviewLoading = null;

  /**
   * @param {import("./api.js").Api} api
   * @param {{changed: () => void, migrations: (pairs: [number, number][]) => void, reset: () => void}} listener
   */
  constructor(api, listener) {
    this.api = api;
    this.listener = listener;
  }

  /**
   * Begin with another balloon, or with this one anew.
   * @param {string} name
   * @param {number|null} memoryBytes  null: it has none, so there is no map
   */
  begin(name, memoryBytes) {
    if (name !== this.#name || memoryBytes === null) {
      this.overview = this.near = this.before = this.space = null;
      this.moved = 0;
    }
    this.#name = name;
    this.#overviewTag = "";
    this.#overviewLoading?.abort();
    this.#overviewLoading = null;
    this.rest();
    if (memoryBytes !== null) this.readOverview(memoryBytes);
  }

  /** Read nothing until it is wanted again. */
  rest() {
    this.#wanted = "";
    clearTimeout(this.#timer);
    this.#loading.abort();
    this.#following?.stop();
    this.#following = null;
  }

  /**
   * Have what a view shows, and one more of the same before and behind it.
   * @param {import("./map_view.js").MapView} view
   */
  want({ first, count, scale, space }) {
    const has = (/** @type {{first: number, end: number, scale: number}} */ part) =>
      part.scale === scale && part.first <= Math.max(first, space.first) && part.end >= Math.min(first + count, space.end);
    const [name, from, to, at] = this.#wanted.split(" ");
    if (name && has({ first: Number(from), end: Number(to), scale: Number(at) })) return;
    const start = Math.max(Math.floor(space.first / scale) * scale, first - count);
    const end = Math.min(Math.ceil(space.end / scale) * scale, first + 2 * count);
    if (end <= start) return;
    this.rest();
    this.#wanted = [this.#name, start, end, scale].join(" ");
    this.#timer = setTimeout(() => this.#load(this.#name, start, end - start, scale), SETTLE_MS);
  }

  /**
   * @param {string} name
   * @param {number} first
   * @param {number} count
   * @param {number} scale
   */
  async #load(name, first, count, scale) {
    const { signal } = (this.#loading = new AbortController());
    const window = `first=${first}&count=${count}&scale=${scale}`;
    try {
      const { cells, version } = await this.#densities(name, window, signal);
      this.before = this.near;
      this.near = cells;
      this.listener.changed();
      this.#follow(name, `${window}&since=${version}`);
    } catch (error) {
      if (signal.aborted) return;
      this.#wanted = "";
      if (!(error instanceof Lost || error instanceof Refused)) throw error;
    }
  }

  /**
   * @param {string} name
   * @param {string} window
   * @param {AbortSignal} signal
   */
  async #densities(name, window, signal) {
    const answer = await this.api.request(`/v1/balloons/${name}/frames?format=density&${window}`, { signal });
    return { cells: await cellsOf(answer), version: answer.headers.get("X-Frame-Version") };
  }

  /**
   * @param {string} name
   * @param {string} query
   */
  #follow(name, query) {
    this.#following = new Following(this.api, `/v1/balloons/${name}/frames/changes?${query}`, {
      onEvent: ({ kind, text }) => this.#apply(kind, JSON.parse(text)),
      onRefused: () => (this.#wanted = ""),
    });
  }

  /**
   * @param {string} kind
   * @param {Record<string, any>} data
   */
  #apply(kind, data) {
    if (kind === "changes" && this.near) {
      if (data.cells) this.near.change(data.cells);
      if (data.ranges) this.near.changeRanges(data.ranges);
      this.listener.changed();
    } else if (kind === "migrations") {
      this.moved += data.migrations.length;
      this.listener.migrations(data.migrations);
    } else if (kind === "reset") this.listener.reset();
  }

  /**
   * Read the overview, and again when it has changed meanwhile.
   * @param {number} memoryBytes
   */
  async readOverview(memoryBytes) {
    if (this.#overviewLoading) {
      this.#overviewAgain = true;
      return;
    }
    const loading = (this.#overviewLoading = new AbortController());
    try {
      do {
        this.#overviewAgain = false;
        await this.#readOverview(this.#name, loading.signal, memoryBytes);
      } while (this.#overviewAgain);
    } catch (error) {
      if (!(error instanceof Lost || error instanceof Refused || loading.signal.aborted)) throw error;
    } finally {
      if (this.#overviewLoading === loading) this.#overviewLoading = null;
    }
  }

  /**
   * @param {string} name
   * @param {AbortSignal} signal
   * @param {number} memoryBytes
   */
  async #readOverview(name, signal, memoryBytes) {
    const frames = this.space ? this.space.end - this.space.first : memoryBytes / 4096;
    const scale = 2 ** Math.max(0, Math.ceil(Math.log2(frames / OVERVIEW_CELLS)));
    const headers = this.#overviewTag ? { "If-None-Match": this.#overviewTag } : undefined;
    const answer = await this.api.request(
      `/v1/balloons/${name}/frames?format=density&scale=${scale}`,
      { signal, headers },
      [304],
    );
    if (answer.status === 304) return;
    const cells = await cellsOf(answer);
    // The guest may have gone meanwhile, of which an event tells.
    if (signal.aborted || !cells.densities.length) return;
    this.#overviewTag = answer.headers.get("ETag") ?? "";
    this.overview = cells;
    this.space = spaceOf(answer);
    this.listener.changed();
  }
}

/** @param {Response} answer */
async function cellsOf(answer) {
  const { headers } = answer;
  const densities = new Uint8Array(await reached(answer.arrayBuffer()));
  return new Cells(Number(headers.get("X-First-Frame")), Number(headers.get("X-Frame-Scale")), densities);
}

/** @param {Response} answer */
function spaceOf(answer) {
  const first = Number(answer.headers.get("X-First-Frame"));
  return { first, end: first + Number(answer.headers.get("X-Frame-Count")) };
}
