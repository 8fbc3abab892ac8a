/**
 * Asking the daemon. The token goes in a header, never in an address.
 *
 * Every refusal becomes a Refused with the daemon's own sentence; no answer at all becomes a Lost. A 401 asks for the
 * token and tries again, so callers never see one.
 */

/** The daemon answered, and said no. */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {Record<string, any>} problem  the RFC 9457 report
   */
  constructor(status, problem) {
    super(problem.detail ?? `the daemon answered ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

/** The daemon did not answer. */
export class Lost extends Error {}

/**
 * Who knows the token.
 * @typedef {object} TokenKeeper
 * @property {string|null} token
 * @property {(wasWrong: boolean) => Promise<void>} ask  ends when there is another token to try
 */

/** The daemon's API. */
export class Api {
  /** @param {TokenKeeper} keeper */
  constructor(keeper) {
    this.keeper = keeper;
  }

  /**
   * Ask until the answer is not 401.
   * @param {string} path
   * @param {RequestInit} [init]
   * @param {number[]} [fine]  statuses besides 2xx that are no refusal
   * @returns {Promise<Response>}
   * @throws {Refused|Lost} or an AbortError where `init.signal` says so
   */
  async request(path, init = {}, fine = []) {
    for (;;) {
      const token = this.keeper.token;
      const headers = new Headers(init.headers);
      if (token !== null) headers.set("Authorization", `Bearer ${token}`);
      const answer = await reached(fetch(path, { ...init, headers, cache: "no-store", credentials: "omit" }));
      if (answer.ok || fine.includes(answer.status)) return answer;
      if (answer.status !== 401) throw new Refused(answer.status, await problemOf(answer));
      // Another request may have brought a new token while this one was under way.
      if (token === this.keeper.token) await this.keeper.ask(token !== null);
    }
  }

  /**
   * @param {string} path
   * @param {AbortSignal} [signal]
   */
  async json(path, signal) {
    const answer = await this.request(path, { signal });
    return reached(answer.json());
  }

  /**
   * @param {string} path
   * @param {object} body
   */
  patch(path, body) {
    return this.send("PATCH", path, body);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} body
   */
  async send(method, path, body) {
    const headers = { "Content-Type": "application/json" };
    const answer = await this.request(path, { method, headers, body: JSON.stringify(body) });
    return reached(answer.json());
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 */
export async function reached(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Lost("the daemon does not answer");
  }
}

/** @param {Response} answer */
async function problemOf(answer) {
  try {
    return await answer.json();
  } catch {
    return {};
  }
}
