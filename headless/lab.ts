/** `deno task lab`: builds the page where that is due, and serves it on this machine alone, beside the runs that it may read. */
import { contentType } from "deno-std/media_types/mod.js";
import { boolean, integer, text } from "../lab/config_fields.ts";
import { pagePolicy } from "../lab/page_policy.ts";
import { type FolderIndex, listRuns } from "../lab/runs/listing.ts";
import type { DatedFiles } from "../lab/runs/run.ts";
import { failWith } from "./exit.ts";
import { diskFiles } from "./files.ts";
import { helpText, parseFlags } from "./flags.ts";

const usage = {
  task: "lab",
  about: "builds the lab's page where its sources have changed, and serves it to this machine's browsers.",
  own: {
    port: integer(8420, { doc: "Port on localhost; 0 for any free one", min: 0, max: 65535 }),
    runs: text("runs", {
      doc: "Folder that the page may read, as runs/: runs.html shows what is in it",
      placeholder: "FOLDER",
    }),
    build: boolean(false, { doc: "Build in any case" }),
    serve: boolean(true, { doc: "false only builds, into dist/" }),
  },
  examples: [
    ["deno task lab", "the page, on a demo post"],
    ["deno task lab --port 0 --runs /data/runs", "with runs from elsewhere"],
  ],
} as const;

const root = decodeURIComponent(new URL("..", import.meta.url).pathname);
const dist = `${root}dist`;

/** Builds the page into dist/, unless it is newer than all that it is made from. Returns whether it built. */
export async function buildPage(always = false): Promise<boolean> {
  const built = await timeOf(`${dist}/index.html`);
  if (!always && built > await newestSource()) return false;
  const { build } = await import("vite");
  // Beside the page that is there, which stays until the new one is whole.
  const next = `${dist}.next`;
  await build({
    configFile: `${root}vite.config.ts`,
    configLoader: "native",
    logLevel: "warn",
    build: { outDir: next },
  });
  if (built > 0) await Deno.remove(dist, { recursive: true });
  await Deno.rename(next, dist);
  return true;
}

/** Milliseconds since 1970 of the last change; 0 where there is no such file. */
async function timeOf(path: string): Promise<number> {
  try {
    return (await Deno.stat(path)).mtime?.getTime() ?? 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

async function newestSource(): Promise<number> {
  let newest = 0;
  const look = async (path: string) => newest = Math.max(newest, await timeOf(path));
  const walk = async (folder: string) => {
    await look(folder); // a removed file changes its folder
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (isDirectory) await walk(`${folder}/${name}`);
      else await look(`${folder}/${name}`);
    }
  };
  for (const folder of ["kernels", "lab", "public"]) await walk(root + folder);
  for (const file of ["vite.config.ts", "deno.json", "deno.lock"]) await look(root + file);
  return newest;
}

/** Nobody else's page may show ours. */
const pageHeader = `${pagePolicy}; frame-ancestors 'none'`;

/** Beside the policy that the document has in itself: whoever opens it, it has no origin. */
const sandboxPolicy = "sandbox allow-scripts; frame-ancestors 'self'";

/**
 * Answers requests for the page's files and, below `runs/`, for those of a folder; reads only. `index.json` of a folder below `runs/` tells
 * what is in it, where it has no file of that name.
 * @param runs absolute; need not exist
 */
export function labHandler(runs: string): (request: Request) => Promise<Response> {
  const files = filesWithin(runs);
  return async (request) => {
    const url = new URL(request.url);
    const answer = await answerTo(request, url);
    answer.headers.set("x-content-type-options", "nosniff");
    answer.headers.set("cache-control", "no-cache");
    answer.headers.set(
      "content-security-policy",
      url.pathname === "/sandbox.html" ? sandboxPolicy : pageHeader,
    );
    return answer;
  };

  async function answerTo(request: Request, url: URL): Promise<Response> {
    // Another site's name may be made to lead here; its pages must not read what is this machine's.
    const host = request.headers.get("host") ?? "";
    if (!["localhost", "127.0.0.1", "[::1]"].includes(host.replace(/:\d+$/, ""))) {
      return say(421, "This server answers to localhost alone.");
    }
    // Nor may a page of another origin, which browsers name in what its scripts ask for.
    const origin = request.headers.get("origin");
    if (origin !== null && origin !== `http://${host}`) {
      return say(403, "This server answers to its own pages alone.");
    }
    if (request.headers.get("sec-fetch-site") === "cross-site" && !isNavigation(request)) {
      return say(403, "This server answers to its own pages alone.");
    }
    if (request.method !== "GET" && request.method !== "HEAD") return say(405, "This server is read only.");
    let path: string;
    try {
      path = decodeURIComponent(url.pathname);
    } catch {
      return say(400, "The address is not valid.");
    }
    const below = path.startsWith("/runs/");
    const folder = below ? runs : dist;
    const file = folder + (below ? path.slice("/runs".length) : path === "/" ? "/index.html" : path);
    if (await lies(file, folder, "file")) return await fileAnswer(request, file);
    if (below && path.endsWith("/index.json")) {
      const listed = file.slice(0, -"/index.json".length);
      if (await lies(listed, folder, "folder")) {
        const index: FolderIndex = {
          names: await files.list(listed),
          runs: await listRuns(files, listed, Date.now()),
        };
        return Response.json(index);
      }
    }
    return say(404, "There is no such file.");
  }
}

/** Whether somebody follows a link, from wherever: what comes is shown to them alone. */
function isNavigation(request: Request): boolean {
  return request.headers.get("sec-fetch-mode") === "navigate" &&
    request.headers.get("sec-fetch-dest") === "document";
}

/** The disk, of which nothing outside a folder is told, symbolic links followed. */
function filesWithin(folder: string): DatedFiles {
  const disk = diskFiles();
  return {
    ...disk,
    list: async (path) => {
      if (!await lies(path, folder, "folder")) return [];
      const names = await disk.list(path);
      const inside = await Promise.all(
        names.map((name) => lies(`${path}/${name}`, folder, name.endsWith("/") ? "folder" : "file")),
      );
      return names.filter((_, i) => inside[i]);
    },
    changedAt: async (path) => await timeOf(path) || undefined,
  };
}

/** A file, or the one range of it that is asked for. */
async function fileAnswer(request: Request, path: string): Promise<Response> {
  const { size, mtime } = await Deno.stat(path);
  const type = contentType(/[^.]*$/.exec(path)![0]) ?? "application/octet-stream";
  const tag = `"${size.toString(36)}-${(mtime?.getTime() ?? 0).toString(36)}"`;
  const headers: Record<string, string> = { "content-type": type, "accept-ranges": "bytes", "etag": tag };
  if (mtime) headers["last-modified"] = mtime.toUTCString();
  if (request.headers.get("if-none-match") === tag) return new Response(null, { status: 304, headers });
  // A part of what is no longer there would not go with the parts that were had before.
  const wanted = (request.headers.get("if-range") ?? tag) === tag ? request.headers.get("range") : null;
  const range = /^bytes=(\d+)-(\d*)$/.exec(wanted ?? "");
  const start = range ? Number(range[1]) : 0;
  const end = range?.[2] ? Math.min(size, Number(range[2]) + 1) : size;
  if (range && (start >= size || end <= start)) {
    return new Response(null, { status: 416, headers: { ...headers, "content-range": `bytes */${size}` } });
  }
  if (range) headers["content-range"] = `bytes ${start}-${end - 1}/${size}`;
  headers["content-length"] = String(end - start);
  const body = request.method === "HEAD" ? null : await part(path, start, end);
  return new Response(body, { status: range ? 206 : 200, headers });
}

/** Bytes `start` to `end` of a file, read as they are taken. */
async function part(path: string, start: number, end: number): Promise<ReadableStream<Uint8Array>> {
  const file = await Deno.open(path);
  await file.seek(start, Deno.SeekMode.Start);
  let left = end - start;
  return new ReadableStream({
    async pull(controller) {
      const piece = new Uint8Array(Math.min(left, 1 << 18));
      const read = left > 0 ? await file.read(piece) : null;
      if (read === null) {
        file.close();
        controller.close();
        return;
      }
      left -= read;
      controller.enqueue(piece.subarray(0, read));
    },
    cancel: () => file.close(),
  }, { highWaterMark: 0 });
}

/** Whether a path is that of a file, or folder, within a folder or that folder itself, symbolic links followed. */
async function lies(path: string, folder: string, kind: "file" | "folder"): Promise<boolean> {
  if (path.includes("\0")) return false;
  try {
    const [real, home] = await Promise.all([Deno.realPath(path), Deno.realPath(folder)]);
    if (real !== home && !real.startsWith(`${home}/`)) return false;
    const { isFile, isDirectory } = await Deno.stat(real);
    return kind === "file" ? isFile : isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

function say(status: number, sentence: string): Response {
  return new Response(`${sentence}\n`, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}

/** Serves until the server is shut down. @throws RangeError where the port is taken */
export function serveLab(port: number, runs: string): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, labHandler(runs));
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new RangeError(`Port ${port} is taken; name another with --port, or 0 for any.`);
  }
}

async function main(): Promise<void> {
  const { own, help } = parseFlags(Deno.args, usage);
  if (help) return console.log(helpText(usage, { colour: Deno.stdout.isTerminal() }));
  const start = performance.now();
  if (await buildPage(own.build)) {
    console.log(`The page is built: dist/, ${((performance.now() - start) / 1000).toFixed(1)} s.`);
  }
  if (!own.serve) return;
  const runs = own.runs.startsWith("/") ? own.runs : `${Deno.cwd()}/${own.runs}`;
  const server = serveLab(own.port, runs);
  console.log(`The lab is at http://localhost:${server.addr.port}/, runs at /runs.html (Ctrl-C ends it).`);
  await server.finished;
}

if (import.meta.main) await main().catch(failWith);
