/** The token: asked for in a dialog when the daemon wants it, kept in this tab's sessionStorage, forgotten on demand. */
import { byId } from "./elements.js";

const KEY = "vballoond-token";

/** Knows the token. */
export class Token {
  /** @type {Promise<void>|null} */
  #asking = null;
  #dialog = byId("token-dialog");
  #input = byId("token");

  constructor() {
    // It can be left only with a token: there is nothing to see without one.
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
    byId("forget").addEventListener("click", () => this.forget());
    this.#showForget();
  }

  get token() {
    return sessionStorage.getItem(KEY);
  }

  /**
   * Ask the person, once for all requests that wait.
   * @param {boolean} wasWrong
   */
  ask(wasWrong) {
    this.#asking ??= this.#ask(wasWrong).finally(() => (this.#asking = null));
    return this.#asking;
  }

  /** Forget it, and begin again without. */
  forget() {
    sessionStorage.removeItem(KEY);
    location.reload();
  }

  /** @param {boolean} wasWrong */
  #ask(wasWrong) {
    byId("token-wrong").hidden = !wasWrong;
    const dialog = /** @type {HTMLDialogElement} */ (this.#dialog);
    const input = /** @type {HTMLInputElement} */ (this.#input);
    input.value = "";
    if (!dialog.open) dialog.showModal();
    input.focus();
    return new Promise((resolve) => {
      byId("token-form").addEventListener(
        "submit",
        (event) => {
          event.preventDefault();
          sessionStorage.setItem(KEY, input.value.trim());
          input.value = "";
          dialog.close();
          this.#showForget();
          resolve(undefined);
        },
        { once: true },
      );
    });
  }

  #showForget() {
    byId("forget").hidden = this.token === null;
  }
}
