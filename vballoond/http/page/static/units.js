/** Numbers as people read them: always with a unit, always of the same width in a column. Pure. */

export const FRAME_BYTES = 4096;
export const MIB = 1 << 20;

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const COUNT = new Intl.NumberFormat("en");

/**
 * Three figures at least: "512 MiB", "1.50 GiB"; "unknown" for null.
 * @param {number|null|undefined} count
 */
export function bytes(count) {
  if (count === null || count === undefined) return "unknown";
  let unit = 0;
  let value = count;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const whole = unit === 0 || (Number.isInteger(value) && Math.abs(value) >= 10);
  const digits = whole || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/**
 * The same with the whole number of MiB behind it, where that says more.
 * @param {number|null|undefined} count
 */
export function exactBytes(count) {
  if (count === null || count === undefined || count < 1024 * MIB) return bytes(count);
  return `${bytes(count)} (${COUNT.format(Math.round(count / MIB))} MiB)`;
}

/** @param {number} bytesPerSecond */
export function rate(bytesPerSecond) {
  return `${bytes(bytesPerSecond)}/s`;
}

/** @param {number} number */
export function count(number) {
  return COUNT.format(number);
}

/**
 * @param {number} number
 * @param {string} one    of what
 * @param {string} [many]
 */
export function plural(number, one, many = `${one}s`) {
  return `${COUNT.format(number)} ${number === 1 ? one : many}`;
}

/** @param {number} seconds */
export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  const whole = Math.round(s);
  if (s < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  if (s < 48 * 3600) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(whole / 86400)} d`;
}

/**
 * A guest address of a page frame.
 * @param {number} pfn
 */
export function address(pfn) {
  return `0x${(BigInt(pfn) << 12n).toString(16).padStart(9, "0")}`;
}

/** @param {number} pfn */
export function frameNumber(pfn) {
  return `0x${pfn.toString(16)}`;
}

/**
 * The time of day, in this browser's time zone.
 * @param {Date|number|string} at
 */
export function timeOfDay(at) {
  return new Date(at).toLocaleTimeString("en-GB");
}

/** @param {number} part 0 to 1 */
export function percent(part) {
  return `${(100 * part).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;
}
