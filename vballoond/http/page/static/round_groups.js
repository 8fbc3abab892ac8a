/** Rounds as people read them: those in which something happened, and between them how often nothing new did. Pure. */

/** @typedef {import("./policy_feed.js").Round} Round */

/**
 * A round in which something happened, or those behind each other in which nothing moved, or the same went wrong.
 * @typedef {object} Group
 * @property {string} key    the same as long as it is the same group, however many rounds join it
 * @property {Round} newest
 * @property {Round} oldest
 * @property {number} rounds
 */

/** @param {Round} round */
function nameOf({ number, at }) {
  return `${number} ${at}`; // numbers begin anew with each process of the daemon
}

/**
 * Whether it has nothing to tell but its error, if it has one.
 * @param {Round} round
 */
function isQuiet({ alerts, decisions }) {
  return !alerts.length && decisions.every((/** @type {Record<string, any>} */ each) => each.from_bytes === each.target_bytes);
}

/**
 * Whether a round says no more than the one before it.
 * @param {Round} round
 * @param {Round|undefined} before
 */
function isMoreOf(round, before) {
  if (before === undefined || !isQuiet(round) || !isQuiet(before)) return false;
  return round.policy === before.policy && round.error === before.error;
}

/**
 * Rounds of policies that were heard, in groups.
 * @param {Round[]} rounds  the newest first
 * @returns {Group[]}
 */
export function grouped(rounds) {
  /** @type {Group[]} */
  const groups = [];
  for (const round of rounds.filter(({ shadow }) => !shadow).reverse()) {
    const last = groups.at(-1);
    if (last && isMoreOf(round, last.newest)) {
      last.newest = round;
      last.rounds += 1;
      continue;
    }
    // Named after what is before it: its own oldest round is forgotten sooner than it is over.
    const key = isQuiet(round) ? `behind ${last ? nameOf(last.newest) : "nothing"}` : nameOf(round);
    groups.push({ key, newest: round, oldest: round, rounds: 1 });
  }
  return groups.reverse();
}
