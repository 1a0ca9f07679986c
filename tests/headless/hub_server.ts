/**
 * A server on loopback that behaves as the Hugging Face Hub does, with a second one as its storage host: the paths, redirects and
 * headers of `/api/…` and `/resolve/…` are those that huggingface_hub 2.4.0 and @huggingface/hub 2.17.5 rely on.
 */
import { createHash } from "node:crypto";

/** The files of a commit by path. Those in `lfs` are served by the storage host under their SHA-256. */
export interface HubCommit {
  files: Record<string, Uint8Array>;
  lfs?: readonly string[];
}

export interface HubRepository {
  /** By their 40 digits. */
  commits: Record<string, HubCommit>;
  /** Branches and tags. */
  refs: Record<string, string>;
  /** Files need a token whose account has access; "none" has. */
  gated?: boolean;
  /** Without this token it does not exist. */
  private?: string;
}

/** What a request met, for a fault to decide on. */
export interface Met {
  /** "hub" or "cdn". */
  host: "hub" | "cdn";
  method: string;
  path: string;
  range: string | null;
  authorization: string | null;
  /** How many requests like this (host, method, path) there have been, this one included. */
  count: number;
}

/** What a fault makes of a request: another answer, a body that breaks off after so many bytes, wrong bytes, or a slow body. */
export type Fault =
  | Response
  | { cutAfter: number }
  | { wrong: true }
  | { slow: number }
  | "ignore range"
  | undefined;

export interface HubServer {
  endpoint: string;
  /** Every request so far. */
  met: Met[];
  /** Asked for every request first; replace it to make things go wrong. */
  fault: (request: Met) => Fault;
  stop: () => Promise<void>;
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
/** Git's name of a file with these bytes. */
export const blobId = (bytes: Uint8Array) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

/** The tokens that the server knows; the second one's account has accepted no conditions. */
export const goodToken = "hf_good", plainToken = "hf_plain";

/**
 * Starts the two servers.
 * @param repositories by "models/owner/name" or "datasets/owner/name"
 * @param plain files of a third kind of place, by path: no repository, only bytes with ETag and Content-MD5
 */
export function serveHub(
  repositories: Record<string, HubRepository>,
  { plain = {}, port = 0, pageSize = 3 }: {
    plain?: Record<string, Uint8Array>;
    port?: number;
    pageSize?: number;
  } = {},
): HubServer {
  const stored = new Map<string, Uint8Array>();
  for (const { commits } of Object.values(repositories)) {
    for (const { files, lfs = [] } of Object.values(commits)) {
      for (const path of lfs) stored.set(sha256(files[path]), files[path]);
    }
  }
  const server: HubServer = { endpoint: "", met: [], fault: () => undefined, stop: () => Promise.resolve() };
  const meet = (host: Met["host"], request: Request): { met: Met; fault: Fault } => {
    const { pathname } = new URL(request.url);
    const seen = { host, method: request.method, path: decodeURIComponent(pathname) };
    const like = server.met.filter(({ host, method, path }) =>
      host === seen.host && method === seen.method && path === seen.path
    );
    const met = {
      ...seen,
      range: request.headers.get("Range"),
      authorization: request.headers.get("Authorization"),
      count: like.length + 1,
    };
    server.met.push(met);
    return { met, fault: server.fault(met) };
  };

  const cdn = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const { met, fault } = meet("cdn", request);
    if (fault instanceof Response) return fault;
    const bytes = stored.get(met.path.slice(1));
    return bytes
      ? sendBytes(request, bytes, { ETag: `"${met.path.slice(1)}"` }, fault)
      : new Response("no", { status: 404 });
  });

  const hub = Deno.serve({ port, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const { met, fault } = meet("hub", request);
    if (fault instanceof Response) return fault;
    const { path } = met;
    const url = new URL(request.url);
    if (plain[path]) {
      const md5 = createHash("md5").update(plain[path]).digest("base64");
      return sendBytes(request, plain[path], { ETag: `"${md5.slice(0, 8)}"`, "Content-MD5": md5 }, fault);
    }
    const token = met.authorization?.replace("Bearer ", "");
    if (token && token !== goodToken && token !== plainToken) {
      return refusal(401, undefined, "Invalid credentials in Authorization header");
    }

    const list = /^\/api\/(models|datasets)$/.exec(path);
    if (list) {
      const owner = url.searchParams.get("author");
      const names = Object.keys(repositories).filter((key) => key.startsWith(`${list[1]}/${owner}/`));
      return Response.json(
        names.map((key) => ({ id: key.slice(list[1].length + 1), _id: key, lastModified: "2026-01-01" })),
      );
    }

    const cached = /^\/api\/resolve-cache\/(models|datasets)\/([^/]+\/[^/]+)\/([0-9a-f]{40})\/(.+)$/.exec(
      path,
    );
    if (cached) {
      const bytes = repositories[`${cached[1]}/${cached[2]}`].commits[cached[3]].files[cached[4]];
      return sendBytes(request, bytes, { ETag: `"${blobId(bytes)}"`, "X-Repo-Commit": cached[3] }, fault);
    }

    const api = /^\/api\/(models|datasets)\/([^/]+\/[^/]+)\/(revision|tree|refs)(?:\/(.+))?$/.exec(path);
    const file = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/(refs\/[^/]+\/[^/]+|[^/]+)\/(.+)$/.exec(path);
    if (!api && !file) return new Response("Not Found", { status: 404 });
    const kind = api?.[1] ?? (file![1] ? "datasets" : "models");
    const name = api?.[2] ?? file![2];
    const repository = repositories[`${kind}/${name}`];
    if (!repository || (repository.private && repository.private !== token)) {
      return token
        ? refusal(404, "RepoNotFound", "Repository not found")
        : refusal(401, undefined, "Invalid username or password.");
    }
    if (api?.[3] === "refs") {
      const branches = Object.entries(repository.refs).map(([name, targetCommit]) => ({
        name,
        targetCommit,
      }));
      return Response.json({ branches, tags: [], converts: [] });
    }
    const revision = (api?.[4] ?? file![3]).replace(/^refs\/heads\//, "");
    const sha = repository.refs[revision] ?? revision;
    const commit = repository.commits[sha];
    if (!commit) return refusal(404, "RevisionNotFound", `Invalid rev id: ${revision}`);
    const lfs = new Set(commit.lfs);

    if (api?.[3] === "revision") {
      const siblings = Object.keys(commit.files).map((rfilename) => ({ rfilename }));
      const facts = {
        gated: repository.gated ? "manual" : false,
        private: !!repository.private,
        downloads: 0,
        likes: 0,
      };
      return Response.json({
        _id: name,
        id: name,
        sha,
        lastModified: "2026-01-01T00:00:00.000Z",
        siblings,
        ...facts,
      });
    }
    if (api?.[3] === "tree") {
      const paths = Object.keys(commit.files).sort();
      const start = Number(url.searchParams.get("cursor") ?? 0);
      const folders = new Set(
        paths.filter((path) => path.includes("/")).map((path) => path.replace(/\/[^/]*$/, "")),
      );
      const entries = [
        ...start === 0
          ? Array.from(folders, (path) => ({ type: "directory", path, oid: "0".repeat(40), size: 0 }))
          : [],
        ...paths.slice(start, start + pageSize).map((path) => {
          const bytes = commit.files[path];
          const pointer = new TextEncoder().encode(`oid sha256:${sha256(bytes)}\nsize ${bytes.length}\n`);
          return {
            type: "file",
            path,
            size: bytes.length,
            oid: blobId(lfs.has(path) ? pointer : bytes),
            ...lfs.has(path) &&
              { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: pointer.length } },
          };
        }),
      ];
      const next = new URL(url);
      next.searchParams.set("cursor", String(start + pageSize));
      return Response.json(entries, {
        headers: start + pageSize < paths.length ? { Link: `<${next}>; rel="next"` } : {},
      });
    }

    const [, , , , wanted] = file!;
    if (repository.gated && token !== goodToken) {
      const why = `Access to ${
        kind.slice(0, -1)
      } ${name} is restricted and you are not in the authorized list.`;
      return refusal(token ? 403 : 401, "GatedRepo", why);
    }
    const bytes = commit.files[wanted];
    if (!bytes) return refusal(404, "EntryNotFound", "Entry not found");
    const linked = lfs.has(wanted) ? sha256(bytes) : blobId(bytes);
    return new Response(null, {
      status: lfs.has(wanted) ? 302 : 307,
      headers: {
        Location: lfs.has(wanted)
          ? `http://127.0.0.1:${cdn.addr.port}/${linked}`
          : `/api/resolve-cache/${kind}/${name}/${sha}/${wanted}`,
        "X-Repo-Commit": sha,
        "X-Linked-Etag": `"${linked}"`,
        "X-Linked-Size": String(bytes.length),
        ETag: `"${linked}"`,
      },
    });
  });
  server.endpoint = `http://127.0.0.1:${hub.addr.port}`;
  server.stop = async () => {
    await Promise.all([hub.shutdown(), cdn.shutdown()]);
  };
  return server;
}

function refusal(status: number, code: string | undefined, message: string): Response {
  return Response.json({ error: message }, {
    status,
    headers: { "X-Error-Message": message, ...code && { "X-Error-Code": code } },
  });
}

/** Bytes, or the range of them that is asked for, as the fault will have them. */
function sendBytes(
  request: Request,
  whole: Uint8Array,
  more: Record<string, string>,
  fault: Fault,
): Response {
  const asked = fault === "ignore range"
    ? null
    : /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("Range") ?? "");
  const start = Number(asked?.[1] ?? 0);
  if (asked && start >= whole.length) {
    return new Response(null, { status: 416, headers: { "Content-Range": `bytes */${whole.length}` } });
  }
  const end = asked?.[2] ? Math.min(whole.length, Number(asked[2]) + 1) : whole.length;
  let bytes = whole.subarray(start, end);
  const headers: Record<string, string> = {
    "Content-Length": String(bytes.length),
    "Accept-Ranges": "bytes",
    ...asked && { "Content-Range": `bytes ${start}-${end - 1}/${whole.length}` },
    ...more,
  };
  const status = asked ? 206 : 200;
  if (request.method === "HEAD") return new Response(null, { status: 200, headers });
  if (typeof fault === "object" && "wrong" in fault) {
    bytes = bytes.slice();
    bytes[bytes.length - 1] ^= 1;
  }
  if (typeof fault === "object" && ("cutAfter" in fault || "slow" in fault)) {
    return new Response(drip(bytes, fault as { cutAfter?: number; slow?: number }), { status, headers });
  }
  return new Response(bytes as Uint8Array<ArrayBuffer>, { status, headers });
}

/** Bytes that break off, or come in pieces of 4 KiB so many milliseconds apart. */
function drip(
  bytes: Uint8Array,
  { cutAfter, slow = 0 }: { cutAfter?: number; slow?: number },
): ReadableStream {
  let at = 0;
  return new ReadableStream({
    async pull(controller) {
      const end = Math.min(bytes.length, at + 4096, cutAfter ?? Infinity);
      if (end > at) controller.enqueue(bytes.slice(at, end));
      at = end;
      if (at === bytes.length) return controller.close();
      // What has been sent must have left before the connection breaks.
      await new Promise((resume) => setTimeout(resume, cutAfter === at ? 50 : slow));
      // Less than Content-Length says: the server can then only drop the connection.
      if (cutAfter === at) controller.close();
    },
  }, { highWaterMark: 0 });
}
