/** What is said of policies, in words. Pure. Who wrote a policy wrote many of them, so they are only ever set as text. */
import { bytes, plural } from "./units.js";

/**
 * Where a target was, and where it is to be: "512 MiB → 768 MiB", or "stays at 512 MiB".
 * @param {Record<string, any>} decision
 */
export function wayOf({ from_bytes: from, target_bytes: target }) {
  return from === target ? `stays at ${bytes(target)}` : `${bytes(from)} → ${bytes(target)}`;
}

/**
 * What was wished, where it is not what came of it; "" where it is.
 * @param {Record<string, any>} decision
 */
export function wishOf({ wished_bytes: wished, target_bytes: target }) {
  return wished === undefined || wished === target ? "" : `wished ${bytes(wished)}`;
}

/**
 * The policy's own reason: what the guard's rules said stands behind it, and is shown for itself.
 * @param {Record<string, any>} decision
 */
export function reasonOf({ reason, changes }) {
  const guards = (changes ?? []).map((/** @type {Record<string, any>} */ each) => `; ${each.rule}: ${each.why}`).join("");
  return guards && reason.endsWith(guards) ? reason.slice(0, -guards.length) : reason;
}

/**
 * What a rule of the guard made of a wish.
 * @param {Record<string, any>} change
 */
export function changeText(change) {
  return `${change.rule}: ${bytes(change.target_bytes)}, ${change.why}`;
}

/**
 * What went wrong, in a sentence, and the lines of the script that show it ("" where there are none).
 * @param {string} problem
 */
export function problemParts(problem) {
  const [first, ...rest] = problem.trim().split("\n");
  const error = rest.at(-1)?.trim() ?? "";
  const sentence = rest.length && !first.includes(error) ? `${first}: ${error}` : first;
  return { sentence: sentence.length > 400 ? `${sentence.slice(0, 400)} …` : sentence, lines: rest.join("\n") };
}

/**
 * A setting's value; of sizes, as people read them.
 * @param {string} name
 * @param {unknown} value
 */
export function settingText(name, value) {
  if (name.endsWith("_bytes") && typeof value === "number") return bytes(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * How far a reservation is, 0 to 1.
 * @param {Record<string, any>} reservation
 */
export function gatheredPart({ state, bytes: wanted, gathered_bytes: gathered }) {
  return state === "ready" || state === "claimed" ? 1 : Math.min(1, gathered / Math.max(1, wanted));
}

/**
 * An event of a round: how many balloons moved, and what else is to be known.
 * @param {Record<string, any>} event
 */
export function roundWords({ policy, decisions = [], alerts = [], problem }) {
  const moved = decisions.slice(0, 3).map((/** @type {Record<string, any>} */ each) => `${each.balloon} ${wayOf(each)}`);
  if (decisions.length > moved.length) moved.push(`${plural(decisions.length - moved.length, "balloon")} more`);
  const parts = [moved.join(", ")];
  for (const alert of alerts.slice(0, 3)) parts.push(`${alert.balloon ?? "host"}: ${alert.message}`);
  if (problem) parts.push(problemParts(problem).sentence);
  const said = parts.filter(Boolean).join("; ") || (policy ? "acts from now on" : "");
  return [policy, said].filter(Boolean).join(": ");
}

/**
 * An event of a reservation.
 * @param {Record<string, any>} event
 */
export function reservationWords({ reservation }) {
  if (!reservation) return "";
  const what = `${bytes(reservation.bytes)}${reservation.purpose ? ` for ${reservation.purpose}` : ""}`;
  return `${what} ${reservation.state}${reservation.reason ? `: ${reservation.reason}` : ""}`;
}
