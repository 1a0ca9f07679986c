import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { DamagedFileError } from "../../lab/bytes.ts";
import { readTldr } from "../../lab/tldr.ts";
import { feedDamaged } from "./damage.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const row = { id: "t3_1", subreddit: "tifu", title: "A", post: "B\nC", summary: "D" };

Deno.test("rows are read line by line, over byte order mark, CRLF, blank lines and a missing last newline", () => {
  const text = `\ufeff${JSON.stringify({ ...row, extra: 1 })}\r\n\n${JSON.stringify({ ...row, id: "t3_2" })}`;
  assertEquals([...readTldr("train.jsonl", bytes(text))], [row, { ...row, id: "t3_2" }]);
  assertEquals([...readTldr("train.jsonl", bytes(""))], []);
});

Deno.test("a bad line is named by file and number", () => {
  const good = JSON.stringify(row) + "\n";
  const refused = (text: string | Uint8Array, message: string) =>
    assertThrows(
      () => [...readTldr("train.jsonl", typeof text === "string" ? bytes(text) : text)],
      DamagedFileError,
      message,
    );
  refused(good + "\n{bad}\n", "train.jsonl:3 is not valid JSON;");
  refused(good + '{"id": "t3', "train.jsonl:2 is not valid JSON (the file ends within it");
  refused(good + "[]\n", "train.jsonl:2 is not a JSON object");
  refused(JSON.stringify({ ...row, summary: undefined }), 'train.jsonl:1 has no "summary"');
  refused(JSON.stringify({ ...row, title: 3 }), 'train.jsonl:1 has "title" that is not text');
  refused(new Uint8Array([0x22, 0xff, 0x22]), "train.jsonl:1 is not UTF-8 text");
});

Deno.test("a thousand damaged files give rows or a named error", async () => {
  await feedDamaged((JSON.stringify(row) + "\n").repeat(3), (damaged) => {
    for (const read of readTldr("train.jsonl", damaged)) {
      for (const field of ["id", "subreddit", "title", "post", "summary"] as const) {
        assertEquals(typeof read[field], "string");
      }
    }
  }, { names: "train.jsonl:" });
});
