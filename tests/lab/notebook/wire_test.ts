import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { Caller, overPort } from "../../../lab/notebook/transport.ts";
import { HostileMessageError, readArgument, serveLab } from "../../../lab/notebook/wire.ts";

const nothing = () => undefined;

Deno.test("arguments are rebuilt from plain data, and nothing else passes", () => {
  const plain = { a: [1, "x", null, true, 5n], b: Float32Array.of(1, NaN), c: { d: undefined } };
  assertEquals(readArgument(plain, nothing), plain);
  assertEquals(readArgument([{ $handle: 3 }], (reference) => reference), [{ $handle: 3 }]);
  for (
    const [value, message] of [
      [new Map(), "not a Map"],
      [[new Date(0)], "not a Date"],
      [{ f: () => {} }, "of another kind"],
      [JSON.parse('{"__proto__": {"x": 1}}'), "may not be called"],
      [new Float32Array(17 << 20), "64 MiB at most"],
      [JSON.parse("[".repeat(40) + "]".repeat(40)), "nested too deeply"],
    ] as const
  ) assertThrows(() => readArgument(value, nothing), HostileMessageError, message);
  assertEquals(({} as Record<string, unknown>).x, undefined);
});

Deno.test("calls cross a port with handles, callbacks and errors that name the caller's place", async () => {
  const { port1, port2 } = new MessageChannel();
  const stop = serveLab(port1, {
    call({ method, args }, event) {
      if (method === "fail") return Promise.reject(new RangeError("/home/somebody/models/x is not there"));
      const [{ $callback }] = args as [{ $callback: number }];
      event($callback, ["first"]);
      event($callback, ["second"]);
      return Promise.resolve({ method, args: args.length });
    },
  });
  const caller = new Caller(overPort(port2), () => "a", {});
  const heard: unknown[] = [];
  const answer = await caller.call(0, "tell", [(word: unknown) => heard.push(word), undefined, undefined]);
  assertEquals([answer, heard], [{ method: "tell", args: 1 }, ["first", "second"]]);
  const error = await caller.call(0, "fail", []).catch((error: Error) => error) as Error;
  assert(error instanceof RangeError);
  assertEquals(error.message, "…/x is not there");
  assert(error.stack!.includes("wire_test.ts"));
  stop();
  port1.close();
  port2.close();
});
