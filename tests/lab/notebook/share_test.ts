import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError } from "../../../lab/bytes.ts";
import { parseNotebook, serialiseNotebook } from "../../../lab/notebook/ipynb.ts";
import {
  contentAddress,
  fromFragment,
  safeLinkLength,
  toFragment,
  withoutOutputs,
} from "../../../lab/notebook/share.ts";
import { notebookOf, richNotebook } from "./notebooks.ts";
import { uniforms } from "../../kernels/testing.ts";

const refusal = async (fragment: string) =>
  (await assertRejects(() => fromFragment(fragment), DamagedFileError)).message;

Deno.test("a notebook comes back out of its link as it was", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const text = serialiseNotebook(richNotebook(seed));
    const notebook = parseNotebook("x.ipynb", new TextEncoder().encode(text));
    const fragment = await toFragment(notebook);
    assert(/^#n=[\w-]+$/.test(fragment));
    assertEquals(serialiseNotebook(await fromFragment(fragment)), text);
    assertEquals(await fromFragment(fragment.slice(1)), notebook);
  }
});

Deno.test("sources make short links, outputs long ones", async () => {
  const notebook = notebookOf(
    Array.from({ length: 30 }, (_, i) => `const v${i} = await lab.load("sft"); // ${i}`),
  );
  const short = await toFragment(notebook);
  assert(short.length < 2500 && short.length < safeLinkLength, `${short.length} characters`);
  for (const cell of notebook.cells) {
    Object.assign(cell, {
      execution_count: 1,
      outputs: [{ output_type: "stream", name: "stdout", text: cell.id.repeat(99) }],
    });
    cell.metadata.lab = {};
  }
  assert((await toFragment(notebook)).length > short.length);
  assertEquals(await toFragment(withoutOutputs(notebook)), short);
});

Deno.test("links that were cut, changed or made to burst are refused in one sentence", async () => {
  const fragment = await toFragment(notebookOf(["# Title", "const a = 1;\na * 2", "lab.show(a)"]));
  // A compressor may end with bytes that mean nothing, and whoever cuts no more than these off cuts nothing.
  for (let length = 0; length < fragment.length - 12; length++) {
    const said = await refusal(fragment.slice(0, length));
    assert(/^The link [^\n]+; ask for it again, or for the notebook as a file\.$/.test(said), said);
  }
  const next = uniforms(1);
  for (let round = 0; round < 300; round++) {
    const at = 3 + Math.floor(next() * (fragment.length - 3));
    const other = "ABCxyz019-_%+/= é"[Math.floor(next() * 17)];
    if (other === fragment[at]) continue;
    const changed = fragment.slice(0, at) + other + fragment.slice(at + 1);
    try {
      // What base64 passes over (padding, white space, bits behind the last byte) changes nothing.
      assertEquals(await toFragment(await fromFragment(changed)), fragment);
    } catch (error) {
      assert(error instanceof DamagedFileError && /^The link .*\.$/.test(error.message), String(error));
    }
  }
  assert(/begins with something else/.test(await refusal("#x=abc")));
  assert(/begins with something else/.test(await refusal("")));
  assert(/characters that no link/.test(await refusal("#n=$$$")));

  const bomb = async (stated: number) => {
    const zeros = new Blob([new Uint8Array(64 * 1024 * 1024)]).stream().pipeThrough(
      new CompressionStream("deflate-raw"),
    );
    const deflated = await new Response(zeros).bytes();
    const all = new Uint8Array(12 + deflated.length);
    new DataView(all.buffer).setUint32(0, stated, true);
    all.set(deflated, 12);
    return "#n=" + all.toBase64({ alphabet: "base64url", omitPadding: true });
  };
  assert(/unpacks to more than it says/.test(await refusal(await bomb(1000))));
  assert(
    /would unpack to 67108864 bytes, and 16777216 are taken/.test(
      await refusal(await bomb(64 * 1024 * 1024)),
    ),
  );
  await assertRejects(
    () => toFragment(notebookOf(["x".repeat(17_000_000)])),
    RangeError,
    "share it as a file",
  );
});

Deno.test("the content address is that of the file's bytes", async () => {
  const notebook = notebookOf(["1"]);
  const bytes = new TextEncoder().encode(serialiseNotebook(notebook));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  assertEquals(await contentAddress(notebook), `sha256-${digest}`);
  assert(await contentAddress(notebookOf(["2"])) !== await contentAddress(notebook));
});
