// Where the numbers come from: the engine behind the server, or what was recorded in this file.

const RECORDED = document.getElementById("recorded");
const facts = JSON.parse(document.getElementById("facts").textContent);
let opened = null;

export { facts };
export const live = RECORDED === null;

/** Everything that was recorded: JSON, compressed and then written in base64. */
async function recorded() {
  if (opened === null) {
    const text = atob(JSON.parse(RECORDED.textContent));
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    opened = new Response(stream).json();
  }
  return opened;
}

const DESCENT = ["rate", "optimizer", "clip"]; // settings that do not change a step's operations

/** The name under which settings were recorded: those that differ from the defaults. `key` in
 *  recorded.py must give the same name. */
function key(settings, without = []) {
  const differ = facts.controls.filter((c) => !without.includes(c.name) && settings[c.name] !== c.default);
  return differ.map((c) => `${c.name}=${settings[c.name]}`).join(" ");
}

async function post(path, request, signal) {
  const body = JSON.stringify(request);
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body, signal });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

/** The parts of a step's view. A part that was not recorded is missing. */
export async function step(settings, parts, image) {
  if (live) return (await post("/step", { settings, parts, image })).json();
  const { views, operations } = await recorded();
  return { network: views[key(settings)] ?? null, labels: [], ...operations[key(settings, DESCENT)] };
}

/** The true change of the loss when a pixel changes by delta; null where it was not recorded. */
export async function pixelChange(settings, image, place, delta) {
  if (live) return (await (await post("/pixel", { settings, image, ...place, delta })).json()).change;
  return (await recorded()).operations[key(settings, DESCENT)]?.pixels?.[delta] ?? null;
}

/** Hand each frame of a training to `show`; false where none was recorded. */
export async function film(settings, show, signal) {
  if (!live) {
    const frames = (await recorded()).films[key(settings)];
    for (const frame of frames ?? []) show(frame);
    return frames !== undefined;
  }
  const answer = await post("/film", { settings }, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let left = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return true;
    const lines = (left + value).split("\n");
    left = lines.pop();
    for (const line of lines) show(JSON.parse(line));
  }
}
