/** What a frame is, as protocol/balloon/frame_states.py has it, and what color shows it. */
import { colour, parts } from "./canvas.js";

/** By code. */
export const STATES = ["free", "movable", "unmovable", "reclaimable", "huge", "isolated", "ballooned", "absent"];
export const BALLOONED = 6;
export const ISOLATED = 5;
export const ABSENT = 7;
/** What nobody says more of: not in the balloon, so the guest's. */
export const GUESTS = 8;

/** Densities: a byte says how much of a cell is held. */
export const ALL_HELD = 254;
export const NO_MEMORY = 255;

export const TITLES = [
  "free",
  "movable: page cache, programs",
  "unmovable: the kernel's own",
  "reclaimable: slab",
  "huge page",
  "isolated, to be migrated",
  "ballooned",
  "no memory there",
  "the guest's",
];

/** A single frame of a large cell is still to be seen. */
const LEAST_SHADE = 0.18;

/**
 * The style sheet's colors of all shades: for each state, from none of a cell ballooned to all of it, as canvas pixels.
 * @returns {Uint32Array[]}
 */
export function shades() {
  const held = parts(colour("--frame-ballooned"));
  return [...STATES, "guests"].map((state) => shadesBetween(parts(colour(`--frame-${state}`)), held));
}

/**
 * @param {[number, number, number]} none
 * @param {[number, number, number]} all
 */
export function shadesBetween(none, all) {
  const shade = new Uint32Array(256);
  for (let density = 0; density <= ALL_HELD; density += 1) {
    const part = density ? LEAST_SHADE + ((1 - LEAST_SHADE) * density) / ALL_HELD : 0;
    const [r, g, b] = none.map((from, at) => Math.round(from + (all[at] - from) * part));
    shade[density] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  }
  return shade; // 0, which is transparent, for NO_MEMORY
}
