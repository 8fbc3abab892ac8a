/** A field for each setting of a policy, or one for all of them as JSON where there are too many. */
import { make, setText } from "./elements.js";
import { fieldNamedIn, fieldsOf, NoValue, settingsOf, textOf, valueOf } from "./settings_schema.js";
import { bytes } from "./units.js";

/** @typedef {import("./settings_schema.js").Field} Field */
/** @typedef {HTMLInputElement|HTMLSelectElement|HTMLTextAreaElement} Control */

/** The fields of one policy. */
export class SettingsForm {
  element = make("div", "settings-form");
  /** @type {{field: Field, control: Control}[]} */
  #rows = [];
  /** @type {HTMLTextAreaElement|null} */
  #all = null;

  /**
   * @param {Record<string, any>} schema
   * @param {Record<string, any>} values  those that differ from what is usual, or all
   */
  constructor(schema, values) {
    const fields = fieldsOf(schema);
    if (fields === null) this.#makeOne(values);
    else if (!fields.length) this.element.append(make("p", "quiet", "It has no settings."));
    else fields.forEach((field) => this.#makeRow(field, Object.hasOwn(values, field.name) ? values[field.name] : field.usual));
  }

  /**
   * The settings that were entered and are not as usual.
   * @throws {NoValue} something is no value at all; its field has the focus
   */
  read() {
    if (this.#all) return this.#readAll(this.#all);
    /** @type {[Field, unknown][]} */
    const entered = this.#rows.map(({ field, control }) => {
      try {
        return [field, valueOf(field, enteredIn(field, control))];
      } catch (error) {
        this.#blame(control);
        throw error;
      }
    });
    return settingsOf(entered);
  }

  /**
   * Show which field a refusal is about, if it says so.
   * @param {string} detail  "" for none
   */
  mark(detail) {
    for (const { control } of this.#rows) control.removeAttribute("aria-invalid");
    const named = fieldNamedIn(this.#rows.map(({ field }) => field), detail);
    const row = this.#rows.find(({ field }) => field === named);
    if (row) this.#blame(row.control);
  }

  /** @param {Control} control */
  #blame(control) {
    control.setAttribute("aria-invalid", "true");
    control.focus();
  }

  /** @param {HTMLTextAreaElement} all */
  #readAll(all) {
    let value;
    try {
      value = JSON.parse(all.value || "{}");
    } catch {
      value = null;
    }
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
    this.#blame(all);
    throw new NoValue('the settings are a JSON object, such as {"samples": 3}');
  }

  /** @param {Record<string, any>} values */
  #makeOne(values) {
    this.#all = make("textarea");
    this.#all.value = JSON.stringify(values, null, 1);
    this.#all.rows = 8;
    this.#all.spellcheck = false;
    this.#all.setAttribute("aria-label", "All settings, as JSON");
    this.element.append(this.#all);
  }

  /**
   * @param {Field} field
   * @param {unknown} value
   */
  #makeRow(field, value) {
    const row = make("label", "setting");
    const control = controlFor(field, value);
    const hint = make("span", "said quiet", field.hint);
    row.append(make("span", "said setting-name", field.name), control, hint);
    if (field.kind === "number" && field.name.endsWith("_bytes")) {
      const size = make("span", "setting-size");
      const show = () => setText(size, control.value ? `= ${bytes(Number(control.value))}` : "");
      control.addEventListener("input", show);
      show();
      row.append(size);
    }
    this.#rows.push({ field, control });
    this.element.append(row);
  }
}

/**
 * @param {Field} field
 * @param {unknown} value
 * @returns {Control}
 */
function controlFor(field, value) {
  if (field.kind === "choice" || (field.kind === "flag" && (field.nullable || field.usual === undefined))) return selectFor(field, value);
  const input = make("input");
  input.autocomplete = "off";
  input.spellcheck = false;
  if (field.kind === "flag") {
    input.type = "checkbox";
    input.checked = value === true;
    return input;
  }
  input.type = "text";
  if (field.kind === "number") input.inputMode = "decimal";
  input.value = textOf(field, value);
  return input;
}

/**
 * @param {Field} field
 * @param {unknown} value
 */
function selectFor(field, value) {
  const select = make("select");
  const choices = field.kind === "flag" ? [true, false] : field.choices;
  const texts = choices.map((choice) => textOf(field, choice));
  if (field.nullable || field.usual === undefined) texts.unshift("");
  select.append(...texts.map((text) => new Option(text, text)));
  select.value = textOf(field, value);
  return select;
}

/**
 * @param {Field} field
 * @param {Control} control
 */
function enteredIn(field, control) {
  return field.kind === "flag" && control instanceof HTMLInputElement ? String(control.checked) : control.value;
}
