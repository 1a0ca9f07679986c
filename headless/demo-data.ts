/** `deno task demo-data [--seed N] [--out DIR]`: makes the demo's posts, comparisons and tokenizer. */
import { parseArgs } from "node:util";
import { buildDemo, defaultSeed } from "../lab/demo/build.ts";
import { diskFiles } from "./files.ts";

const help = `Makes the embedded demo data: posts, preference pairs and a tokenizer.

Usage: deno task demo-data [--seed N] [--out DIR]

  --seed N   whole number that everything follows from (default ${defaultSeed}, the seed of the files that ship)
  --out DIR  where the files go (default public/demo)
  --help     print this`;

/** What the command line asks for. Throws an Error in one sentence for anything it does not know. */
export function parseDemoArgs(args: string[]): { seed: number; out: string; help: boolean } {
  const options = {
    seed: { type: "string", default: String(defaultSeed) },
    out: { type: "string", default: "public/demo" },
    help: { type: "boolean", default: false },
  } as const;
  let flags;
  try {
    flags = parseArgs({ args, options }).values;
  } catch (error) {
    const [reason] = error instanceof Error ? error.message.split(/[.\n]/) : [String(error)];
    throw new Error(`${reason}: demo-data takes --seed N, --out DIR and --help`);
  }
  if (!/^\d{1,9}$/.test(flags.seed)) {
    throw new Error(`--seed takes a whole number from 0 to 999999999, not "${flags.seed}"`);
  }
  if (flags.out === "") throw new Error("--out needs the path of a folder, such as --out public/demo");
  return { seed: Number(flags.seed), out: flags.out, help: flags.help };
}

/** Builds the demo data and writes each file whole or not at all. Returns the bytes by file name. */
export async function writeDemo(seed: number, out: string): Promise<Map<string, Uint8Array>> {
  const built = await buildDemo(seed);
  const disk = diskFiles();
  await disk.makeDirectory(out);
  for (const [name, bytes] of built) await disk.writeAtomic(`${out}/${name}`, bytes);
  return built;
}

if (import.meta.main) {
  try {
    const { seed, out, help: asked } = parseDemoArgs(Deno.args);
    if (asked) console.log(help);
    else {
      const files = await writeDemo(seed, out);
      for (const [name, bytes] of files) {
        console.log(`${out}/${name}  ${(bytes.length / 1024).toFixed(1)} KiB`);
      }
    }
  } catch (error) {
    console.error(`demo-data: ${error instanceof Error ? error.message : error}`);
    Deno.exit(1);
  }
}
