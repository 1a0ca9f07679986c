/**
 * Has nbformat say that what we write is a notebook, and writes golden/nbformat.json: the digest of all that it accepted, which the test
 * finds again without Python. In an environment outside the repository:
 *
 *     python3 -m venv /tmp/venv && /tmp/venv/bin/pip install nbformat==5.11.1
 *     deno run -A tests/oracles/nbformat.ts /tmp/venv/bin/python [NOTEBOOK...]
 *
 * Notebooks that are named are held against it too.
 */
import { writtenNotebooks } from "../lab/notebook/written.ts";
import { sha256Of } from "../../lab/bytes.ts";

const [python, ...named] = Deno.args;
if (!python) throw new Error("Name a Python that has nbformat: nbformat.ts /tmp/venv/bin/python");

async function refusedOf(notebooks: ReadonlyMap<string, string>): Promise<{ nbformat: string; refused: Record<string, string> }> {
  const folder = await Deno.makeTempDir();
  for (const [name, text] of notebooks) await Deno.writeTextFile(`${folder}/${name}.ipynb`, text);
  const script = new URL("nbformat_check.py", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(python, { args: [script, folder] }).output();
  await Deno.remove(folder, { recursive: true });
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

const written = await writtenNotebooks();
const { nbformat, refused } = await refusedOf(written);
for (const [name, why] of Object.entries(refused)) console.error(`${name}: ${why}`);
if (Object.keys(refused).length > 0) throw new Error(`nbformat refuses ${Object.keys(refused).length} of ${written.size}.`);

// And it can refuse: no id, a key of our own beside the metadata, an output without a type.
const [[, sound]] = written;
const broken = ['"id":', '"nbformat_minor": 5', '"output_type":'].map((key, i) =>
  [`broken-${i}`, sound.replace(key, key.replace(/[a-z]+/, "lab"))] as const
);
const { refused: rightly } = await refusedOf(new Map(broken));
if (Object.keys(rightly).length < 2) throw new Error("nbformat accepts what is no notebook.");

const others = new Map(await Promise.all(named.map(async (path, i) => [`${i}`, await Deno.readTextFile(path)] as const)));
for (const [name, why] of Object.entries((await refusedOf(others)).refused)) console.error(`${named[parseInt(name)]}: ${why}`);

const digest = await sha256Of(new TextEncoder().encode([...written.values()].join("")));
const golden = { nbformat, notebooks: written.size, sha256: digest };
await Deno.writeTextFile(new URL("golden/nbformat.json", import.meta.url), JSON.stringify(golden, null, 1) + "\n");
console.log(`nbformat ${nbformat} accepts all ${written.size} notebooks`);
