/**
 * What a person may enter for each setting of a policy, by the JSON Schema of them all. Pure.
 *
 * Numbers, texts, choices and yes or no have fields of their own; anything else is entered as JSON. Whether a value is
 * right, only the daemon says: this only makes values of what was typed.
 */
import { bytes } from "./units.js";

const MOST_FIELDS = 100;

/** What was entered is no value; the message says what would be one. */
export class NoValue extends Error {}

/**
 * One setting.
 * @typedef {object} Field
 * @property {string} name
 * @property {"number"|"flag"|"text"|"choice"|"json"} kind
 * @property {unknown} usual       its default; undefined: it has none
 * @property {boolean} nullable    whether nothing entered means null
 * @property {unknown[]} choices
 * @property {string} hint         for people
 */

/**
 * The settings, in their order; null: they are too many, or no schema at all.
 * @param {Record<string, any>} schema
 * @returns {Field[]|null}
 */
export function fieldsOf(schema) {
  const properties = Object.entries(schema?.properties ?? {});
  if (properties.length > MOST_FIELDS) return null;
  return properties.map(([name, property]) => fieldOf(name, property ?? {}, schema.$defs ?? {}));
}

/**
 * @param {string} name
 * @param {Record<string, any>} property
 * @param {Record<string, any>} definitions
 * @returns {Field}
 */
function fieldOf(name, property, definitions) {
  const parts = Array.isArray(property.anyOf) ? property.anyOf : [property];
  const nullable = parts.some((part) => part?.type === "null");
  const others = parts.filter((part) => part?.type !== "null").map((part) => resolved(part ?? {}, definitions));
  const only = others.length === 1 ? others[0] : {};
  const kind = kindOf(only);
  const choices = kind === "choice" ? only.enum : [];
  const hint = [property.description, limits(only), usualText(name, property.default)].filter((part) => part && typeof part === "string").join(" · ");
  return { name, kind, usual: property.default, nullable, choices, hint };
}

/**
 * @param {Record<string, any>} part
 * @param {Record<string, any>} definitions
 */
function resolved(part, definitions) {
  const name = typeof part.$ref === "string" ? part.$ref.replace("#/$defs/", "") : "";
  return name && Object.hasOwn(definitions, name) ? definitions[name] : part;
}

/** @param {Record<string, any>} part */
function kindOf(part) {
  if (Array.isArray(part.enum) && part.enum.length) return "choice";
  if (part.type === "number" || part.type === "integer") return "number";
  if (part.type === "boolean") return "flag";
  return part.type === "string" ? "text" : "json";
}

/** @param {Record<string, any>} part */
function limits(part) {
  const said = [
    ["whole", part.type === "integer"],
    [`at least ${part.minimum}`, typeof part.minimum === "number"],
    [`more than ${part.exclusiveMinimum}`, typeof part.exclusiveMinimum === "number"],
    [`at most ${part.maximum}`, typeof part.maximum === "number"],
    [`less than ${part.exclusiveMaximum}`, typeof part.exclusiveMaximum === "number"],
  ];
  return said.filter(([, holds]) => holds).map(([text]) => text).join(", ");
}

/**
 * @param {string} name
 * @param {unknown} usual
 */
function usualText(name, usual) {
  if (usual === undefined) return "it must be given";
  if (usual === null) return "usually nothing";
  const size = name.endsWith("_bytes") && typeof usual === "number" ? ` (${bytes(usual)})` : "";
  return `usually ${typeof usual === "string" ? usual : JSON.stringify(usual)}${size}`;
}

/**
 * What stands in a field for a value.
 * @param {Field} field
 * @param {unknown} value
 */
export function textOf(field, value) {
  if (value === undefined || (value === null && field.nullable)) return "";
  return typeof value === "string" && field.kind !== "json" ? value : JSON.stringify(value);
}

/**
 * The value that was entered; undefined: none was.
 * @param {Field} field
 * @param {string} text
 * @throws {NoValue}
 */
export function valueOf(field, text) {
  const entered = text.trim();
  if (field.kind === "text") return text === "" && field.nullable ? null : text;
  if (entered === "") return field.nullable ? null : undefined;
  if (field.kind === "choice") return field.choices.find((choice) => textOf(field, choice) === text);
  if (field.kind === "number") {
    const number = Number(entered);
    if (!Number.isFinite(number)) throw new NoValue(`${field.name}: ${entered.slice(0, 60)} is not a number`);
    return number;
  }
  try {
    return JSON.parse(entered);
  } catch {
    throw new NoValue(`${field.name}: ${entered.slice(0, 60)} is not JSON, such as 3, "text", true, [1, 2] or {"a": 1}`);
  }
}

/**
 * Of all values those that are sent: what is as usual need not be.
 * @param {[Field, unknown][]} entered
 */
export function settingsOf(entered) {
  const given = entered.filter(([field, value]) => value !== undefined && JSON.stringify(value) !== JSON.stringify(field.usual));
  // Not by assignment: a setting may have any name, that of an object's prototype too.
  return Object.fromEntries(given.map(([field, value]) => [field.name, value]));
}

/**
 * The field that a refusal of the daemon is about, if it names one.
 * @param {Field[]} fields
 * @param {string} detail
 */
export function fieldNamedIn(fields, detail) {
  const named = /^settings of policy '[^']*': ([^:.]+)/.exec(detail)?.[1];
  return fields.find(({ name }) => name === named) ?? null;
}
