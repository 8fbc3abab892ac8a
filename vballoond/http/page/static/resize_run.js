/** What a resize is doing, in a bar and a sentence. The words are made by pure functions. */
import { byId, setPart, setText } from "./elements.js";
import { bytes, duration, percent, rate } from "./units.js";

/** @typedef {Record<string, any>} Resize of a Balloon, as the API has it */

const ENDS = {
  done: "reached",
  superseded: "another target was set",
  settled: "settled for what was reached",
  expired: "its time ran out",
};

/**
 * How far it is, 0 to 1: from where it began to where it is to be.
 * @param {Resize} resize
 * @param {number} actualBytes
 */
export function progressOf(resize, actualBytes) {
  if (resize.outcome) return resize.outcome === "done" ? 1 : (resize.progress ?? 0);
  const whole = resize.target_bytes - (resize.from_bytes ?? 0);
  if (whole === 0) return actualBytes === resize.target_bytes ? 1 : 0;
  return Math.min(1, Math.max(0, (actualBytes - resize.from_bytes) / whole));
}

/**
 * One line for people.
 * @param {Resize} resize
 * @param {number} actualBytes
 * @param {number} now  milliseconds, by the daemon's clock
 */
export function sentenceOf(resize, actualBytes, now) {
  const way = `${bytes(resize.from_bytes)} → ${bytes(resize.target_bytes)}`;
  const begun = Date.parse(resize.started_at);
  if (resize.outcome) {
    const took = (Date.parse(resize.ended_at) - begun) / 1000;
    const reached = resize.reached_bytes ?? actualBytes;
    const at = resize.outcome === "done" ? "" : ` at ${bytes(reached)}`;
    const speed = took > 0 ? `, ${rate(Math.abs(reached - resize.from_bytes) / took)}` : "";
    return `${way}: ${ENDS[/** @type {keyof ENDS} */ (resize.outcome)] ?? resize.outcome}${at}, after ${duration(took)}${speed}`;
  }
  const parts = [`${way}: ${percent(progressOf(resize, actualBytes))}`];
  if (!resize.stalled) parts.push(rate(resize.rate_bytes_per_s));
  const rest = resize.expected_at ? (Date.parse(resize.expected_at) - now) / 1000 : 0;
  if (rest > 0) parts.push(`there in ${duration(rest)}`);
  if (resize.deadline_at) {
    const left = duration((Date.parse(resize.deadline_at) - now) / 1000);
    parts.push(`${resize.settle ? "settles" : "gives up"} in ${left}`);
  } else if (resize.settle) parts.push("settles if the guest stops giving");
  return parts.join(" · ");
}

/** Shows the newest resize of a balloon. */
export class ResizeRun {
  #run = byId("run");
  #bar = byId("progress");

  /**
   * @param {import("./store.js").Balloon} balloon
   * @param {number} now
   */
  show(balloon, now) {
    const resize = balloon.resize;
    this.#run.dataset.outcome = resize ? (resize.outcome ?? (resize.stalled ? "stalled" : "moving")) : "none";
    const progress = resize ? progressOf(resize, balloon.actual_bytes) : 0;
    setPart(this.#bar, "--done", progress);
    this.#bar.setAttribute("aria-valuenow", String(Math.round(100 * progress)));
    setText(byId("run-text"), resize ? sentenceOf(resize, balloon.actual_bytes, now) : "Nothing was asked of it yet.");
    setText(byId("run-stall"), resize && !resize.outcome && resize.stalled ? `Stalled: ${resize.stalled}` : "");
  }
}
