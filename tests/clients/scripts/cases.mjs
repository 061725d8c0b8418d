// What the programs in JavaScript share: their settings, what they say to the model, their cases.
// The model is the simulator: what stands between <simulate> and </simulate> is what it does.

export const URL = process.env.TOLLGATE_URL;
export const KEY = process.env.TOLLGATE_KEY;
export const MODEL = process.env.TOLLGATE_MODEL;
export const EMBEDDING_MODEL = process.env.TOLLGATE_EMBEDDING_MODEL;
export const WRONG_KEY = "sk-tg-" + "0".repeat(40);

export const SEVEN_TOKENS = "Hello! <simulate>tokens=7</simulate>";
export const LONG = "Tell me everything. <simulate>tokens=3000&pace_ms=20</simulate>";
export const SUM = "The sum is 5.";
const turns = [{ calls: [{ name: "add", input: { a: 2, b: 3 } }] }, { text: SUM }];
export const ADD = `What is 2 + 3? <simulate>${JSON.stringify({ turns })}</simulate>`;
export const CITY = "Name a city.";

function object(properties) {
  const required = Object.keys(properties);
  return { type: "object", properties, required, additionalProperties: false };
}
export const CITY_SCHEMA = object({ name: { type: "string" }, population: { type: "integer" } });
export const NUMBERS = object({ a: { type: "integer" }, b: { type: "integer" } });

export function check(holds, shown) {
  if (!holds) throw new Error(`unexpected: ${JSON.stringify(shown)}`);
}

export function isCity(text) {
  const city = JSON.parse(text);
  return typeof city.name === "string" && Number.isInteger(city.population);
}

// Return the error that a call throws; fail where it throws none, or one of another status.
export async function refused(status, run) {
  let error;
  try {
    await run();
  } catch (caught) {
    error = caught;
  }
  check(error && (error.status ?? error.statusCode) === status, String(error));
  return error;
}

// Run the cases and print what became of each.
export async function main(cases) {
  for (const [name, run] of Object.entries(cases)) {
    if (process.argv.length > 2 && !process.argv.includes(name)) continue;
    let problem = "";
    try {
      await run();
    } catch (error) {
      console.error(error);
      problem = String(error);
    }
    console.log(`{"case": ${JSON.stringify(name)}, "problem": ${JSON.stringify(problem)}}`);
  }
}
