/**
 * A stream of events that is kept alive: it comes again with Last-Event-ID, later and later while nobody answers.
 *
 * A stream that says nothing for SILENCE_MS, not even its heartbeat, has lost its other side and is read anew.
 */
import { Lost, Refused, reached } from "./api.js";
import { EventParser } from "./server_sent.js";

const SILENCE_MS = 40_000; // the daemon's heartbeat comes every 15 s
const LONGEST_WAIT_MS = 15_000;

/**
 * @typedef {object} Listener
 * @property {(event: import("./server_sent.js").ServerSentEvent) => void} onEvent
 * @property {(resumed: boolean) => void} [onOpen]  resumed: what was missed is told again
 * @property {(waitMs: number) => void} [onLost]    it comes again after that time
 * @property {(error: Refused) => void} [onRefused] it does not come again
 */

/** One stream. */
export class Following {
  #ended = new AbortController();
  #hurry = () => {};
  #lastId = "";

  /**
   * @param {import("./api.js").Api} api
   * @param {string} path
   * @param {Listener} listener
   */
  constructor(api, path, listener) {
    this.api = api;
    this.path = path;
    this.listener = listener;
    this.done = this.#run();
  }

  /** Read no more. */
  stop() {
    this.#ended.abort();
    this.#hurry();
  }

  /** Do not wait any longer before coming again. */
  hurry() {
    this.#hurry();
  }

  async #run() {
    let failures = 0;
    while (!this.#ended.signal.aborted) {
      let retryMs = 1000;
      try {
        retryMs = (await this.#read(() => (failures = 0))) ?? retryMs;
      } catch (error) {
        if (this.#ended.signal.aborted) return;
        if (error instanceof Refused && error.status < 500) return this.listener.onRefused?.(error);
        if (!(error instanceof Lost || error instanceof Refused || isAbort(error))) throw error;
      }
      if (this.#ended.signal.aborted) return;
      const waitMs = waitAfter(failures++, retryMs);
      this.listener.onLost?.(waitMs);
      await this.#wait(waitMs);
    }
  }

  /**
   * Read one answer to its end; return the wait that it asked for.
   * @param {() => void} opened
   */
  async #read(opened) {
    const silence = new AbortController();
    const signal = AbortSignal.any([this.#ended.signal, silence.signal]);
    const headers = this.#lastId ? { "Last-Event-ID": this.#lastId } : undefined;
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const answer = await this.api.request(this.path, { headers, signal });
      opened();
      this.listener.onOpen?.(this.#lastId !== "");
      const parser = new EventParser();
      const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
      const decoder = new TextDecoder();
      for (;;) {
        const { done, value } = await reached(reader.read());
        if (done || this.#ended.signal.aborted) return parser.retryMs;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        for (const event of parser.feed(decoder.decode(value, { stream: true }))) this.#tell(event);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {import("./server_sent.js").ServerSentEvent} event */
  #tell(event) {
    if (this.#ended.signal.aborted) return;
    if (event.id) this.#lastId = event.id;
    this.listener.onEvent(event);
  }

  /** @param {number} waitMs */
  #wait(waitMs) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
  }
}

/**
 * How long to wait after so many failures in a row, in milliseconds: twice as long each time.
 * @param {number} failures
 * @param {number} retryMs
 */
export function waitAfter(failures, retryMs) {
  return Math.min(LONGEST_WAIT_MS, retryMs * 2 ** Math.min(failures, 10));
}

/** @param {unknown} error */
function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}
