// The form of an operation: controls made of its fields, and the values they hold.
import { marked } from "../relay/text.js";
import { language, say } from "../relay/texts.js";

const LONG_TEXTS = new Set(["prompt", "suffix"]);
const FURTHER = "further-fields";

function made(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function optionsOf(values, isRequired) {
  const options = values.map(([value, text]) => made("option", { value, textContent: text }));
  return isRequired ? options : [made("option", { value: "", textContent: say("not_set") }), ...options];
}

function controlOf(field, id, models) {
  const { control, limits } = field;
  if (field.name === "model") {
    return made("select", { id }, ...optionsOf(models.map((model) => [model.name, `${model.title} (${model.name})`]), true));
  }
  if (control === "select") return made("select", { id }, ...optionsOf(field.options.map((each) => [String(each), String(each)]), field.isRequired));
  if (control === "file") return made("input", { id, type: "file", multiple: field.types.includes("array") });
  if (control === "checkbox") return made("input", { id, type: "checkbox" });
  if (control === "number") {
    const input = made("input", { id, type: "number", step: limits.isWhole ? "1" : "any" });
    if (Number.isSafeInteger(limits.minimum)) input.min = limits.minimum;
    if (Number.isSafeInteger(limits.maximum)) input.max = limits.maximum;
    return input;
  }
  if (control === "json") return made("textarea", { id, rows: field.isCommon ? 7 : 3, className: "is-json", spellcheck: false });
  if (LONG_TEXTS.has(field.name)) return made("textarea", { id, rows: 3, dir: "auto" });
  const input = made("input", { id, type: "text", dir: "auto" });
  if (limits.longest) input.maxLength = limits.longest;
  return input;
}

// What a number may be, in words; nothing where it may be any.
function rangeOf({ minimum, maximum, above }) {
  const hasLeast = Number.isSafeInteger(minimum);
  const hasMost = Number.isSafeInteger(maximum);
  const numbers = { above, least: minimum, most: maximum?.toLocaleString(language) };
  if (above !== undefined) return say(hasMost ? "above_at_most" : "above", numbers);
  if (hasLeast) return say(hasMost ? "from_to" : "at_least", numbers);
  return hasMost ? say("at_most", numbers) : "";
}

export class Form {
  constructor(operation, models, wantedModel) {
    this.operation = operation;
    const { modelKind: kind, modelInput: input } = operation;
    this.models = models.filter((model) => (!kind || model.kind === kind) && (!input || model.inputs.includes(input)));
    this.rows = operation.fields.map((field) => this.#row(field));
    if (operation.takesBody) {
      const further = { name: FURTHER, label: say("further_fields"), control: "json", types: ["object"], limits: {}, isCommon: false, help: say("further_fields_help") };
      this.rows.push(this.#row(further));
    }
    this.fill(this.offers(wantedModel) ? { ...operation.example, model: wantedModel } : operation.example);
  }

  // Returns whether the endpoint takes this model.
  offers(name) {
    return this.rows.some((row) => row.field.name === "model") && this.models.some((model) => model.name === name);
  }

  #row(field) {
    const id = `field-${field.name}`;
    const control = controlOf(field, id, this.models);
    const label = made("label", { htmlFor: id });
    if (field.label) label.textContent = field.label;
    else label.append(made("code", { textContent: field.name }));
    if (!field.isRequired && field.control !== "checkbox") label.append(" ", made("span", { className: "quiet", textContent: say("optional") }));
    const notes = { mixed: say("text_or_json"), json: field.types.includes("array") ? say("json_array") : say("json"), number: rangeOf(field.limits) }[field.control] ?? "";
    const help = made("span", { className: "help", id: `${id}-help` }, ...marked([field.help, notes && `(${notes})`].filter(Boolean).join(" ")));
    const error = made("span", { className: "error", id: `${id}-error`, hidden: true });
    control.setAttribute("aria-describedby", `${help.id} ${error.id}`);
    if (field.isRequired) control.required = true;
    const element = made("div", { className: "field" });
    if (field.control === "checkbox") {
      element.append(made("div", { className: "check" }, control, made("div", {}, label, made("br"), help)), error);
    } else element.append(label, control, help, error);
    return { field, control, element, error };
  }

  // Puts the values of a request into the controls.
  fill(body) {
    for (const { field, control } of this.rows) {
      const value = body[field.name];
      if (field.control === "checkbox") control.checked = value === true;
      else if (field.control === "file") continue; // a page can't choose a file
      else if (field.name === "model") control.value = this.models.some((model) => model.name === value) ? value : (this.models[0]?.name ?? "");
      else if (value === undefined) control.value = "";
      else control.value = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    }
  }

  // Returns `{path, body}` of what the controls hold, and whether all of it can be sent; says beside
  // a control what is wrong with it if `tells`.
  read({ tells }) {
    const values = {};
    let isGood = true;
    let firstBad = null;
    for (const row of this.rows) {
      let fault = "";
      try {
        const value = valueOf(row.field, row.control);
        if (value !== undefined) values[row.field.name] = value;
        else if (row.field.isRequired) fault = say("required");
      } catch (error) {
        fault = error.message;
      }
      if (fault) {
        isGood = false;
        firstBad ??= row;
      }
      if (tells || !fault) {
        row.error.textContent = fault;
        row.error.hidden = !fault;
        row.control.toggleAttribute("aria-invalid", Boolean(fault));
        if (fault) row.control.setAttribute("aria-invalid", "true");
      }
    }
    if (tells && firstBad) {
      const fold = firstBad.element.closest("details");
      if (fold) fold.open = true;
      firstBad.control.focus();
    }
    return { isGood, ...this.#request(values) };
  }

  #request(values) {
    const { pathNames, queryNames, takesBody } = this.operation;
    let { path } = this.operation;
    for (const name of pathNames) path = path.replace(`{${name}}`, encodeURIComponent(values[name] ?? name.toUpperCase()));
    const query = new URLSearchParams(queryNames.filter((name) => name in values).map((name) => [name, values[name]]));
    if (query.size) path += `?${query}`;
    if (!takesBody) return { path, body: null, values };
    const { [FURTHER]: further, ...body } = values;
    for (const name of [...pathNames, ...queryNames]) delete body[name];
    Object.assign(body, further);
    if (!body.stream) delete body.stream_options;
    return { path, body, values };
  }
}

// Returns what a control holds as JSON's value, undefined for nothing. Throws Error with what to do.
function valueOf({ control: kind, types, limits }, control) {
  if (kind === "checkbox") return control.checked || undefined;
  if (kind === "file") return control.files.length > 1 ? [...control.files] : control.files[0];
  if (kind === "number" && control.validity.badInput) throw new Error(say("enter_number"));
  const text = kind === "text" || kind === "mixed" ? control.value : control.value.trim();
  if (text === "") return undefined;
  if (kind === "number") return numberOf(text, limits);
  if (kind === "json" || (kind === "mixed" && /^\s*[[{"]/.test(text))) return jsonOf(text, types);
  return text;
}

function numberOf(text, { minimum, maximum, above, isWhole }) {
  const number = Number(text);
  if (Number.isNaN(number)) throw new Error(say("enter_number"));
  if (isWhole && !Number.isSafeInteger(number)) throw new Error(say("enter_whole_number"));
  if (minimum !== undefined && number < minimum) throw new Error(say("enter_or_more", { number: minimum }));
  if (maximum !== undefined && number > maximum) throw new Error(say("enter_or_less", { number: maximum }));
  if (above !== undefined && number <= above) throw new Error(say("enter_more", { number: above }));
  return number;
}

function jsonOf(text, types) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(say("no_json", { reason: error.message }));
  }
  const type = Array.isArray(value) ? "array" : value === null ? "null" : typeof value;
  if (!types.includes(type)) throw new Error(say("enter_json", { types: types.map((each) => say(`type_${each}`)).reduce((first, second) => say("either", { first, second })) }));
  return value;
}
