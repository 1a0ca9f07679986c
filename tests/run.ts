/**
 * Runs test files in one ordinary process: `deno run -A tests/run.ts --gpu dawn tests/kernels/*_test.ts`.
 *
 * `deno test` executes modules on a thread of its own, on which npm `webgpu` 0.6.2 corrupts memory as soon as a pipeline is made
 * (seen with Mesa 25 and 26; the same code under `deno run` is sound). So the Dawn half of the suite is run here, by the
 * same `Deno.test` registrations.
 */
import { parseArgs } from "deno-std/cli/parse_args.js";
import { resolve, toFileUrl } from "deno-std/path/mod.js";

const flags = parseArgs(Deno.args, { string: ["gpu", "filter"] });
if (flags.gpu) Deno.env.set("PRECIS_TEST_GPU", flags.gpu);

interface Registered {
  file: string;
  name: string;
  ignore: boolean;
  fn: (context: unknown) => void | Promise<void>;
}
const tests: Registered[] = [];
let file = "";

type Options = Partial<Registered>;
type Body = Registered["fn"];
function register(first: string | Options | Body, second?: Options | Body, third?: Body): void {
  const options: Options = typeof first === "object" ? first : typeof second === "object" ? second : {};
  const fn = [first, second, third].find((argument) => typeof argument === "function") as Body | undefined ??
    options.fn!;
  const name = typeof first === "string" ? first : options.name ?? fn.name;
  tests.push({ file, name, ignore: options.ignore ?? false, fn });
}
const ignore = (first: string | Options, second?: Options | Body) =>
  register({
    ...(typeof first === "object" ? first : { name: first }),
    ignore: true,
    fn: (second as Body) ?? (() => {}),
  });
Object.defineProperty(Deno, "test", { value: Object.assign(register, { ignore }), configurable: true });

for (const argument of flags._) {
  file = String(argument);
  await import(toFileUrl(resolve(file)).href);
}

let passed = 0, failed = 0, ignored = 0;
for (const test of tests) {
  if (flags.filter && !test.name.includes(flags.filter)) continue;
  if (test.ignore) {
    ignored++;
    console.log(`${test.name} ... ignored`);
    continue;
  }
  const start = performance.now();
  try {
    const step = async (options: string | Options, body?: Body) => {
      await (typeof options === "string" ? body! : options.fn!)({});
      return true;
    };
    await test.fn({ step });
    passed++;
    console.log(`${test.name} ... ok (${Math.round(performance.now() - start)}ms)`);
  } catch (error) {
    failed++;
    console.log(`${test.name} ... FAILED (${test.file})\n${error instanceof Error ? error.stack : error}`);
  }
}
console.log(`\n${failed === 0 ? "ok" : "FAILED"} | ${passed} passed | ${failed} failed | ${ignored} ignored`);
Deno.exit(failed === 0 ? 0 : 1);
