/**
 * Joins the parts of the page: the daemon's events change the store, the store's changes draw the parts.
 *
 *     /v1/events -> store -> list of balloons, chosen balloon (head, slider, curves, frame map)
 *                -> events
 *                -> policy feed -> policy, its choice, chosen balloon (the newest decision about it)
 */
import { Api, Lost, Refused } from "./api.js";
import { BalloonDecision } from "./balloon_decision.js";
import { BalloonList, totals } from "./balloons.js";
import { Chosen } from "./chosen.js";
import { Connection } from "./connection.js";
import { Curves } from "./curves.js";
import { byId, oncePerPicture, setText } from "./elements.js";
import { Events } from "./events.js";
import { Following } from "./follow.js";
import { FrameMap } from "./frame_map.js";
import { Policy } from "./policy.js";
import { PolicyChoice } from "./policy_choice.js";
import { PolicyFeed } from "./policy_feed.js";
import { ResizeRun } from "./resize_run.js";
import { Slider } from "./slider.js";
import { Store } from "./store.js";
import { Token } from "./token.js";

const api = new Api(new Token());
const store = new Store(api);
const connection = new Connection();
const events = new Events();
const policies = new PolicyFeed(api, store);
const policy = new Policy(policies, store);
new PolicyChoice(api, policies);
const frameMap = new FrameMap(api);
const parts = [new Slider(api, store), new ResizeRun(), new BalloonDecision(policies), new Curves(store), frameMap];
const chosen = new Chosen(store, parts);
const list = new BalloonList(store, (name) => {
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  chosen.choose(name);
  events.choose(name);
});

/** The first choice: what the address names, or the first of the list. */
function chooseFirst() {
  const named = decodeURIComponent(location.hash.slice(1));
  const first = store.balloons.has(named) ? named : [...store.balloons.keys()].sort()[0];
  if (list.chosen === null && first !== undefined) requestAnimationFrame(() => list.choose(first));
}

const drawTotals = oncePerPicture(() => {
  const sums = totals(store.balloons.values());
  for (const [what, text] of Object.entries(sums)) setText(byId(`total-${what}`), text);
  byId("totals").classList.toggle("some-broken", sums.broken !== "0");
  document.title = sums.broken === "0" ? `vballoond: ${sums.balloons}` : `✕ ${sums.broken} broken · vballoond`;
});

/** Whether the events since are all that is missing. */
let complete = false;

/** Read everything. Where the daemon is lost meanwhile, it is read when the stream of events is back. */
async function readAll() {
  complete = false;
  try {
    await store.readAll();
    complete = true;
    policies.readAll();
    chooseFirst();
    frameMap.readAgain();
  } catch (error) {
    if (!(error instanceof Lost || error instanceof Refused)) throw error;
    if (error instanceof Refused) connection.refused(error.message);
  }
}

const stream = new Following(api, "/v1/events", {
  onOpen(resumed) {
    connection.live();
    // What was missed is told again, or `events-lost` comes.
    if (!resumed || !complete) readAll();
    else policies.readAll();
  },
  onEvent({ id, kind, text }) {
    connection.heard();
    const event = { ...JSON.parse(text), id, kind };
    events.add(event);
    policies.hear(event);
    if (kind === "events-lost") readAll();
    else store.apply(event);
  },
  onLost: (waitMs) => connection.lost(waitMs),
  onRefused: (error) => connection.refused(error.message),
});

store.onChange(drawTotals);
policies.onChange(() => chosen.tick());
byId("retry").addEventListener("click", () => stream.hurry());
window.addEventListener("online", () => stream.hurry());
setInterval(() => {
  connection.tick();
  if (document.hidden) return;
  chosen.tick();
  policies.tick();
  policy.tick();
}, 1000);
