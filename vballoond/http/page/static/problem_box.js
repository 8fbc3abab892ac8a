/** What went wrong with a script: a sentence, and its own lines, folded. */
import { make, setText } from "./elements.js";
import { problemParts } from "./policy_words.js";

/** A place for a problem; hidden while there is none. */
export class ProblemBox {
  element = make("div", "reason problem");
  #sentence = make("p", "said");
  #fold = make("details");
  #lines = make("pre", "said");

  constructor() {
    this.element.setAttribute("role", "status");
    this.#fold.append(make("summary", "", "Its lines"), this.#lines);
    this.element.append(this.#sentence, this.#fold);
    this.show(null);
  }

  /** @param {string|null} problem */
  show(problem) {
    const { sentence, lines } = problemParts(problem ?? "");
    this.element.hidden = !problem;
    setText(this.#sentence, sentence);
    setText(this.#lines, lines);
    this.#fold.hidden = !lines;
  }
}
