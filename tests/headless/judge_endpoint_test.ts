import { assert, assertEquals, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import { endpointFromEnvironment, findJudge } from "../../headless/judge_endpoint.ts";
import { memoryFiles } from "../../lab/bytes.ts";
import { silent } from "../../lab/progress.ts";
import { folderDigest } from "../../lab/stages/judging.ts";
import { configure } from "../../lab/config.ts";
import { diskFiles } from "../../headless/files.ts";

const from = (fields: Record<string, string>) => endpointFromEnvironment((name) => fields[name]);

Deno.test("the endpoint is OpenAI's with a key, or another with or without one", () => {
  const { url, key } = from({ OPENAI_API_KEY: " sk-1\n" });
  assertEquals([url, key], ["https://api.openai.com/v1", "sk-1"]);
  const local = from({ OPENAI_BASE_URL: "http://localhost:8000/v1" });
  assertEquals([local.url, local.key], ["http://localhost:8000/v1", undefined]);
});

Deno.test("what cannot be an endpoint is refused without showing key or password", () => {
  for (
    const [fields, said] of [
      [{}, "needs OPENAI_API_KEY"],
      [{ OPENAI_BASE_URL: "localhost" }, "no HTTP address"],
      [{ OPENAI_BASE_URL: "file:///etc/secret" }, "no HTTP address"],
      [{ OPENAI_BASE_URL: "https://me:secret@host/v1" }, "name or password"],
      [{ OPENAI_API_KEY: "secret key" }, "no key has"],
    ] as const
  ) {
    const error = assertThrows(() => from(fields), RangeError, said);
    assert(!error.message.includes("secret"), error.message);
  }
});

Deno.test("a judge that is not there is found out before the run", async () => {
  const none = () => undefined;
  const empty = await Deno.makeTempDir();
  const demo = new URL("../../public/demo/base", import.meta.url).pathname;
  const config = (judge: "second" | "local" | "openai" | "gold", judgeModel = "x") =>
    configure("demo", { evaluate: { judge, judgeModel } });
  assertEquals(await findJudge(memoryFiles(), config("gold"), none, silent), undefined);
  await assertRejects(
    () => findJudge(diskFiles(), config("second", empty), none, silent),
    Error,
    "no model folder",
  );
  await assertRejects(
    () => findJudge(memoryFiles(), config("openai"), none, silent),
    RangeError,
    "OPENAI_API_KEY",
  );
  await assertRejects(
    () => findJudge(diskFiles(), config("second", demo), none, silent),
    Error,
    "is a language model, which evaluate.judge local takes",
  );
  const found = await findJudge(diskFiles(), config("local", demo), none, silent);
  assertEquals(found, { folder: demo, digest: await folderDigest(diskFiles(), demo) });
  assertThrows(() => config("local", ""), RangeError, "needs evaluate.judgeModel, the judge's model folder");
});
