import { assertEquals } from "deno-std/assert/mod.js";
import { joinPath } from "../../../lab/bytes.ts";
import { engineData, goldenModel, modelFiles, notebookData, qwenData } from "../../oracles/notebook_data.ts";
import { goldenPath } from "../golden.ts";
import { qwenTokenizer } from "../qwen.ts";

const read = async (name: string) => JSON.parse(await Deno.readTextFile(joinPath(notebookData, name)));

Deno.test("the notebooks' golden numbers and model are those of the oracles", async () => {
  assertEquals(await read("engine.json"), JSON.parse(JSON.stringify(await engineData())));
  for (const file of modelFiles) {
    assertEquals(
      await Deno.readFile(joinPath(notebookData, goldenModel, file)),
      await Deno.readFile(goldenPath(joinPath(goldenModel, file))),
    );
  }
});

const tokenizer = await qwenTokenizer();
const missing = tokenizer ? "" : " (skipped: Qwen2.5's tokenizer is not here)";
Deno.test(
  `the notebooks' Qwen tokens are those of its tokenizer${missing}`,
  { ignore: !tokenizer },
  async () => {
    assertEquals(await read("qwen_tokens.json"), JSON.parse(JSON.stringify(await qwenData(tokenizer!))));
  },
);
