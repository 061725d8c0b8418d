// A request as programs write it. The key is always a variable of the environment.

// Returns the three snippets. `path` and `body` are the form's, `base` the server's whole address.
export function snippets(operation, base, path, body, values) {
  if (operation.takesForm) body = withFileNames(operation, body);
  const request = { operation, base: base.replace(/\/$/, ""), path, body, values };
  return { curl: curl(request), python: python(request), javascript: javascript(request) };
}

// Returns the fields of a form in which each file, chosen or to be chosen, is its name.
function withFileNames(operation, body) {
  const named = { ...body };
  for (const { name, control, isRequired } of operation.fields) {
    if (control !== "file" || (!named[name] && !isRequired)) continue;
    const chosen = named[name] ?? operation.example[name];
    named[name] = Array.isArray(chosen) ? chosen.map((file) => new FileName(file.name)) : new FileName(chosen.name ?? chosen);
  }
  return named;
}

class FileName {
  constructor(name) {
    this.name = name;
  }
}

// Returns each field of a form with its value, those of a list under `name[]`.
const fieldsOf = (body) => Object.entries(body).flatMap(([name, value]) => (Array.isArray(value) ? value.map((each) => [`${name}[]`, each]) : [[name, value]]));
const plain = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));

function curl({ operation, base, path, body }) {
  const lines = [`curl ${body?.stream ? "-N " : ""}${operation.saves ? `-o ${operation.saves} ` : ""}${quoted(base + path)}`];
  if (!operation.isPublic) lines.push('-H "Authorization: Bearer $API_KEY"');
  if (operation.takesForm) lines.push(...fieldsOf(body).map(([name, value]) => `-F ${quoted(value instanceof FileName ? `${name}=@${value.name}` : `${name}=${plain(value)}`)}`));
  else if (body) lines.push('-H "Content-Type: application/json"', `-d ${quoted(JSON.stringify(body, null, 2))}`);
  return lines.join(" \\\n  ");
}

const quoted = (text) => (/^[\w:/.%-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function python({ operation, base, path, body, values }) {
  const head = `import os\n\nfrom openai import OpenAI\n\nclient = OpenAI(base_url=${literal(base)}, api_key=os.environ["API_KEY"])\n`;
  // The SDK's own method, what it takes by name, and what to print of its answer.
  const method = operation.sdk;
  if (operation.id === "list_models") return `${head}for model in client.models.list():\n    print(model.id)`;
  if (operation.id === "get_model") return `${head}print(client.models.retrieve(${literal(values.model ?? "")}))`;
  if (!method) {
    const sent = body ? `, body=${literal(body, 0)}` : "";
    return `${head}print(client.${body ? "post" : "get"}(${literal(path)}, cast_to=object${sent}))`;
  }
  const known = method.takes;
  const named = Object.entries(body).filter(([name]) => known.includes(name));
  const others = Object.entries(body).filter(([name]) => !known.includes(name));
  if (others.length) named.push(["extra_body", Object.fromEntries(others)]);
  const call = `client.${method.call}(\n${named.map(([name, value]) => `    ${name}=${literal(value, 1)},\n`).join("")})`;
  // An expression that does something by itself need not be printed.
  const result = method.prints.endsWith(")") ? method.prints : `print(${method.prints})`;
  if (!body.stream) return `${head}answer = ${call}\n${result}`;
  return `${head}for chunk in ${call}:\n    if chunk.choices:\n        print(${method.streams} or "", end="", flush=True)\n    else:\n        print("\\n", chunk.usage)`;
}

// Returns a JSON value as Python writes it.
function literal(value, depth = 0) {
  const pad = "    ".repeat(depth + 1);
  const end = "    ".repeat(depth);
  if (value === null) return "None";
  if (value instanceof FileName) return `open(${JSON.stringify(value.name)}, "rb")`;
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return value.length ? `[\n${value.map((each) => `${pad}${literal(each, depth + 1)},\n`).join("")}${end}]` : "[]";
  if (typeof value === "object") {
    const entries = Object.entries(value);
    return entries.length ? `{\n${entries.map(([name, each]) => `${pad}${JSON.stringify(name)}: ${literal(each, depth + 1)},\n`).join("")}${end}}` : "{}";
  }
  return JSON.stringify(value);
}

function javascript({ operation, base, path, body }) {
  const options = [];
  const headers = [];
  if (body) options.push('  method: "POST",');
  if (!operation.isPublic) headers.push("    authorization: `Bearer ${process.env.API_KEY}`,");
  if (body && !operation.takesForm) headers.push('    "content-type": "application/json",');
  if (headers.length) options.push(`  headers: {\n${headers.join("\n")}\n  },`);
  let head = "";
  if (operation.takesForm) {
    const lines = fieldsOf(body).map(([name, value]) => `form.append(${JSON.stringify(name)}, ${value instanceof FileName ? `await openAsBlob(${JSON.stringify(value.name)}), ${JSON.stringify(value.name)}` : JSON.stringify(plain(value))});\n`);
    head = `import { openAsBlob } from "node:fs";\n\nconst form = new FormData();\n${lines.join("")}`;
    options.push("  body: form,");
  } else if (body) options.push(`  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll("\n", "\n  ")}),`);
  const call = `${head}const response = await fetch(${JSON.stringify(base + path)}${options.length ? `, {\n${options.join("\n")}\n}` : ""});\n`;
  if (operation.saves) return `import { writeFile } from "node:fs/promises";\n\n${call}await writeFile(${JSON.stringify(operation.saves)}, Buffer.from(await response.arrayBuffer()));`;
  if (!body?.stream) return `${call}console.log(await response.json());`;
  return `${call}for await (const part of response.body.pipeThrough(new TextDecoderStream())) {\n  process.stdout.write(part);\n}`;
}
