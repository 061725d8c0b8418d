// The API's operations and their fields, read from its OpenAPI document.

const MANAGEMENT = "Management";

// Returns the operations of the models' API; those of the management API take another key.
// `translated` brings the document's texts into the reader's language.
export function operationsOf(document, translated) {
  const found = [];
  for (const [path, item] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      // A redirect leads to another host, which this page can't show.
      if (!operation.operationId || operation.tags?.includes(MANAGEMENT) || !operation.responses["200"]) continue;
      found.push(described(document, path, method, operation, translated));
    }
  }
  return found;
}

function described(document, path, method, operation, translated) {
  const [[mediaType, content] = []] = Object.entries(operation.requestBody?.content ?? {});
  const schema = content ? resolved(document, content.schema) : null;
  const examples = Object.values(content?.examples ?? {}).map((example) => example.value);
  // What the operation says of its form: the fields most requests name (others are folded away).
  const playground = operation["x-playground"] ?? {};
  const common = playground.common ?? [];
  // Parameters of the path and the query; those of headers are for programs that repeat requests.
  const parameters = (operation.parameters ?? []).filter((parameter) => parameter.in !== "header");
  const fields = parameters.map((parameter) => fieldOf(document, parameter.name, parameter.schema, parameter.required ?? false, translated(parameter.description)));
  const namesIn = (place) => parameters.filter((parameter) => parameter.in === place).map((parameter) => parameter.name);
  for (const [name, property] of Object.entries(schema?.properties ?? {})) {
    const isRequired = schema.required?.includes(name) ?? false;
    fields.push(fieldOf(document, name, property, isRequired, translated(property.description)));
  }
  const place = (field) => (common.includes(field.name) ? common.indexOf(field.name) : field.isRequired && parameters.some(({ name }) => name === field.name) ? -1 : common.length);
  for (const field of fields) field.isCommon = field.isRequired || common.includes(field.name);
  fields.sort((one, other) => place(one) - place(other));
  return {
    id: operation.operationId,
    path,
    method: method.toUpperCase(),
    tag: translated(operation.tags?.[0] ?? ""),
    summary: translated(operation.summary),
    description: translated(operation.description),
    fields,
    pathNames: namesIn("path"),
    queryNames: namesIn("query"),
    example: examples.at(-1) ?? {},
    takesBody: schema !== null,
    takesForm: mediaType === "multipart/form-data",
    saves: playground.saves ?? "",
    isPublic: Array.isArray(operation.security) && operation.security.length === 0,
    modelKind: playground.modelKind ?? "",
    modelInput: playground.modelInput ?? "",
    sdk: playground.call ? playground : null,
  };
}

function resolved(document, schema) {
  if (!schema?.$ref) return schema ?? {};
  const parts = schema.$ref.replace("#/", "").split("/");
  return parts.reduce((node, part) => node[part], document);
}

// Returns the plain alternatives of a schema, null apart.
function alternatives(document, schema) {
  const one = resolved(document, schema);
  if (one.anyOf) return one.anyOf.flatMap((each) => alternatives(document, each));
  const types = [one.type ?? (one.enum ? "string" : "object")].flat().filter((type) => type !== "null");
  return types.map((type) => ({ ...one, type }));
}

// A field's `control` is one of select, checkbox, number, text, json (checked against `types`), file,
// and mixed: a text or JSON.
function fieldOf(document, name, schema, isRequired, help) {
  const found = alternatives(document, schema);
  const types = [...new Set(found.map((each) => each.type))];
  const [first] = found;
  const field = { name, isRequired, help: help ?? "", types, options: first?.enum ?? null, limits: {} };
  if (found.some((each) => each.format === "binary")) field.control = "file";
  else if (field.options) field.control = "select";
  else if (types.length > 1) field.control = types.includes("string") ? "mixed" : "json";
  else field.control = { boolean: "checkbox", integer: "number", number: "number", string: "text" }[types[0]] ?? "json";
  if (field.control === "number") {
    field.limits = { minimum: first.minimum, maximum: first.maximum, above: first.exclusiveMinimum, isWhole: types[0] === "integer" };
  }
  if (field.control === "text") field.limits = { longest: first.maxLength };
  return field;
}
