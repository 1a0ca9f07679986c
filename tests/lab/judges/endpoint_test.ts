import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { chatClient, type ChatLimits, EndpointError, retryAfter } from "../../../lab/judges/endpoint.ts";
import { completion, standIn } from "./stand_in.ts";

const limits: ChatLimits = { perMinute: 0, retries: 3, timeout: 5 };
const request = { model: "m", messages: [{ role: "user" as const, content: "hello" }], longestAnswer: 32 };
const half = () => 0.5;
const client = (server: ReturnType<typeof standIn>, more: Partial<ChatLimits> = {}) =>
  chatClient(server.endpoint, { ...limits, ...more }, () => {}, half);
const error = (status: number, fields: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
  Response.json({ error: { message: `it is ${status}`, ...fields } }, { status, headers });

Deno.test("an answer comes with its tokens; the request has model, turns, limit and the key in its header alone", async () => {
  await using server = standIn(() => completion("Preferred: A"));
  const answer = await client(server).ask(request);
  assertEquals(answer, { text: "Preferred: A", promptTokens: 100, completionTokens: 20 });
  const [{ headers, body }] = server.requests;
  assertEquals(body, { model: "m", messages: request.messages, max_tokens: 32 });
  assertEquals(headers.get("authorization"), "Bearer sk-very-secret");
});

Deno.test("no answer text and no count of tokens are an empty answer and zero, not an error", async () => {
  await using server = standIn(() => completion(null, null));
  assertEquals(await client(server).ask(request), { text: "", promptTokens: 0, completionTokens: 0 });
});

Deno.test("429 waits as long as Retry-After says, for everybody", async () => {
  await using server = standIn((_, n) => n === 0 ? error(429, {}, { "retry-after": "7" }) : completion("ok"));
  const chat = client(server);
  assertEquals((await chat.ask(request)).text, "ok");
  assertEquals(server.waits.reduce((sum, wait) => sum + wait, 0), 7000);
  assert(server.waits.every((wait) => wait <= 500), "waits are cut, so that a stop is seen");
  assertEquals(chat.counts, { sent: 2, repeated: 1 });
});

Deno.test("500, a cut connection, HTML and half a JSON are tried again with growing waits", async () => {
  const bad = [
    () => error(500),
    () =>
      new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode('{"choices":'));
            controller.error(new Error("cut"));
          },
        }),
      ),
    () => new Response("<html>bad gateway</html>"),
  ];
  await using server = standIn((_, n) => bad[n]?.() ?? completion("at last"));
  const chat = client(server);
  assertEquals((await chat.ask(request)).text, "at last");
  assertEquals(chat.counts, { sent: 4, repeated: 3 });
  // 1, 2 and 4 seconds, three quarters of each with the drawn half.
  assertEquals(server.waits.reduce((sum, wait) => sum + wait, 0), 0.75 * 7000);
});

Deno.test("after the last retry the error says what was answered, how often and how to go on, without the key", async () => {
  await using server = standIn(() => error(503, { message: "key sk-very-secret\nis busy" }));
  const failed = await assertRejects(() => client(server).ask(request), EndpointError);
  assert(/answered 503: key … is busy, 4 times in a row/.test(failed.message), failed.message);
  assert(failed.message.includes("--resume") && !failed.message.includes("secret"), failed.message);
  assertEquals(failed.message.includes("\n"), false);
  assertEquals(server.requests.length, 4);
});

Deno.test("an endpoint that never answers is given up after its time", async () => {
  const open = new AbortController();
  await using server = standIn(() =>
    new Promise((resolve) => open.signal.addEventListener("abort", () => resolve(completion("late"))))
  );
  // A second is the shortest that the configuration takes.
  const failed = await assertRejects(
    () => client(server, { timeout: 0.1, retries: 1 }).ask(request),
    EndpointError,
  );
  assert(/no answer within 0.1 s, 2 times/.test(failed.message), failed.message);
  open.abort();
});

Deno.test("what a retry cannot help is not retried: a refused key, no such model, no credit, too long a wait", async () => {
  for (
    const [response, said] of [
      [error(401), /refuses the key .*check OPENAI_API_KEY/],
      [error(404), /answered 404.*evaluate.judgeModel/],
      [error(429, { code: "insufficient_quota" }), /answered 429: it is 429;/],
      [error(429, {}, { "retry-after": "86400" }), /asks to wait 86400 s/],
    ] as const
  ) {
    await using server = standIn(() => response.clone());
    const failed = await assertRejects(() => client(server).ask(request), EndpointError);
    assert(said.test(failed.message), failed.message);
    assertEquals(server.requests.length, 1);
  }
});

Deno.test("nobody there is said so", async () => {
  const server = standIn(() => completion("x"));
  await server[Symbol.asyncDispose]();
  const failed = await assertRejects(() => client(server).ask(request), EndpointError);
  assert(/cannot be reached/.test(failed.message), failed.message);
});

Deno.test("a text that the endpoint refuses is an empty answer, so that it does not end the evaluation", async () => {
  await using server = standIn(() => error(400, { code: "content_filter" }));
  assertEquals((await client(server).ask(request)).text, "");
});

Deno.test("models that want max_completion_tokens get it, requests on their way included, without a retry counted", async () => {
  await using server = standIn(({ body }) =>
    "max_tokens" in body ? error(400, { message: "use 'max_completion_tokens' instead" }) : completion("ok")
  );
  const chat = client(server, { retries: 0 });
  const answers = await Promise.all([chat.ask(request), chat.ask(request), chat.ask(request)]);
  assertEquals(answers.map(({ text }) => text), ["ok", "ok", "ok"]);
  assertEquals(server.requests.at(-1)!.body.max_completion_tokens, 32);
  assertEquals(chat.counts.repeated, 0);
});

Deno.test("requests a minute are kept to", async () => {
  await using server = standIn(() => completion("ok"));
  const chat = client(server, { perMinute: 120 });
  await Promise.all(Array.from({ length: 5 }, () => chat.ask(request)));
  assertEquals(server.endpoint.now(), 4 * 500);
});

Deno.test("a stop is seen while waiting", async () => {
  await using server = standIn(() => error(429, {}, { "retry-after": "600" }));
  let looks = 0;
  const chat = chatClient(server.endpoint, limits, () => {
    if (++looks > 3) throw new Error("stopped");
  });
  await assertRejects(() => chat.ask(request), Error, "stopped");
  assert(server.waits.length <= 3);
});

Deno.test("Retry-After is read in seconds, as a date, and in milliseconds", () => {
  const of = (fields: Record<string, string>) =>
    retryAfter(new Headers(fields), Date.parse("2026-01-01T00:00:00Z"));
  assertEquals(of({ "retry-after": "3" }), 3000);
  assertEquals(of({ "retry-after": "Thu, 01 Jan 2026 00:00:09 GMT" }), 9000);
  assertEquals(of({ "retry-after": "Wed, 31 Dec 2025 00:00:00 GMT" }), 0);
  assertEquals(of({ "retry-after-ms": "250", "retry-after": "1" }), 250);
  assertEquals([of({}), of({ "retry-after": "soon" })], [undefined, undefined]);
});
