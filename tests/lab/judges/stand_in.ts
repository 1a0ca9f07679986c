/** A server on the loopback that answers as an endpoint for chat completions does, or as badly as a test wants. */
import type { Endpoint } from "../../../lab/judges/endpoint.ts";

export interface Request {
  headers: Headers;
  // deno-lint-ignore no-explicit-any
  body: any;
  /** What the judge was asked, all turns together. */
  text: string;
}

export interface StandIn {
  endpoint: Endpoint;
  requests: Request[];
  /** Waits that were asked for, milliseconds; they pass at once. */
  waits: number[];
  /** Most requests at the same time so far. */
  most: () => number;
  [Symbol.asyncDispose](): Promise<void>;
}

export function completion(content: unknown, usage: unknown = { prompt_tokens: 100, completion_tokens: 20 }) {
  return Response.json({ choices: [{ message: { role: "assistant", content } }], usage });
}

/** @param answer gives the response to the nth request, from 0 */
export function standIn(
  answer: (request: Request, n: number) => Response | Promise<Response>,
  key = "sk-very-secret",
): StandIn {
  const requests: Request[] = [], waits: number[] = [];
  let running = 0, most = 0, clock = 0;
  const stop = new AbortController();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, signal: stop.signal, onListen() {}, onError: () => new Response(null) },
    async (request) => {
      most = Math.max(most, ++running);
      try {
        const body = await request.json();
        const text = body.messages.map(({ content }: { content: string }) => content).join("\n");
        requests.push({ headers: request.headers, body, text });
        if (new URL(request.url).pathname !== "/v1/chat/completions") {
          return new Response("no", { status: 404 });
        }
        return await answer(requests.at(-1)!, requests.length - 1);
      } finally {
        running--;
      }
    },
  );
  return {
    endpoint: {
      url: `http://127.0.0.1:${server.addr.port}/v1`,
      key,
      fetch: (url, init) => fetch(url, init),
      wait(milliseconds) {
        waits.push(milliseconds);
        clock += milliseconds;
        return Promise.resolve();
      },
      now: () => clock,
    },
    requests,
    waits,
    most: () => most,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await server.finished;
    },
  };
}

/** The two summaries in a judge's prompt. */
export function shown(text: string): [a: string, b: string] {
  const [, a, b] = /### Summary A\n([^]*?)\n\n### Summary B\n([^]*?)\n\nWrite two lines/.exec(text)!;
  return [a, b];
}
