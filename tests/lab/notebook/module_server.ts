/** A server on this machine that plays all of the web's, and hears who asks for what. */
import type { ModuleSource } from "../../../lab/notebook/import_graph.ts";

/** What is at an address: a text, another address that it leads to, a status, or what makes an answer. */
export type Answer = string | { to: string } | { status: number } | (() => Response | Promise<Response>);

export interface ModuleServer {
  /** Fetches from here, whatever the address, and keeps in memory. */
  source: ModuleSource;
  /** Addresses that were asked for, in order. */
  heard: string[];
  /** By address; tests change it. */
  answers: Record<string, Answer>;
  /** What is kept, by integrity. */
  kept: Map<string, Uint8Array<ArrayBuffer>>;
  /** From now on nothing answers. */
  unplug(): Promise<void>;
}

/** @param answers by address, "https://cdn.jsdelivr.net/npm/a@1.0.0/+esm" */
export async function withModules(
  answers: Record<string, Answer>,
  body: (server: ModuleServer) => Promise<void>,
): Promise<void> {
  const heard: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const address = "https://" + request.url.replace(/^http:\/\/[^/]+\//, "");
    heard.push(address);
    const answer = Object.hasOwn(answers, address) ? answers[address] : { status: 404 };
    const headers = { "content-type": "text/javascript", "access-control-allow-origin": "*" };
    if (typeof answer === "function") return await answer();
    if (typeof answer === "string") return new Response(answer, { headers });
    if ("to" in answer) {
      const location = answer.to.startsWith("https://") ? answer.to.replace("https:/", "") : answer.to;
      return new Response(null, { status: 302, headers: { ...headers, location } });
    }
    return new Response("no", { status: answer.status, headers });
  });
  let running = true;
  const unplug = async () => {
    if (running) await server.shutdown();
    running = false;
  };
  const here = `http://127.0.0.1:${server.addr.port}/`;
  const kept = new Map<string, Uint8Array<ArrayBuffer>>();
  const source: ModuleSource = {
    place: "the test's memory",
    async fetch(address, signal) {
      const response = await fetch(here + address.replace("https://", ""), { signal });
      const url = response.url.startsWith(here) ? "https://" + response.url.slice(here.length) : response.url;
      return Object.defineProperty(response, "url", { value: url });
    },
    read: (integrity) => Promise.resolve(kept.get(integrity)),
    keep: (integrity, bytes) => Promise.resolve(void kept.set(integrity, bytes)),
  };
  try {
    await body({ source, heard, answers, kept, unplug });
  } finally {
    await unplug();
  }
}

/** The address of a package at the CDN. */
export const cdn = (path: string) => `https://cdn.jsdelivr.net/npm/${path}/+esm`;

/** A package that imports another, which imports a third by a relative address, and that the second again. */
export const graphOfThree: Record<string, Answer> = {
  [cdn("mean@1.0.0")]: `import { sum } from "/npm/sum@2.1.0/+esm"; export { sum };
export function mean(values) { return sum(values) / values.length; } export default mean;`,
  [cdn("sum@2.1.0")]: `import { add } from "../sum@2.1.0/add.js"; export const zero = 0; let calls = 0;
export function sum(values) { calls++; return values.reduce(add, zero); } export { calls };`,
  "https://cdn.jsdelivr.net/npm/sum@2.1.0/add.js":
    `import { zero } from "https://cdn.jsdelivr.net/npm/sum@2.1.0/+esm"; export function add(a, b) { return a + b + zero; }`,
};
