import { assertEquals } from "deno-std/assert/mod.js";
import {
  type Address,
  readAddress,
  usualAddress,
  writeAddress,
} from "../../../../lab/page/inspect/address.ts";

Deno.test("what is as usual needs no query", () => {
  assertEquals(readAddress(""), {
    ...usualAddress,
    view: { ...usualAddress.view, rect: undefined, fixed: undefined, only: undefined, order: undefined },
    prompt: undefined,
    position: undefined,
  });
  assertEquals(writeAddress(usualAddress), "");
});

Deno.test("every view comes back from its address", () => {
  const address: Address = {
    model: "runs/demo/models/ppo",
    pane: "attention",
    tensor: "run/layers.1.attn.qkv",
    view: {
      rect: { row0: 1.5, row1: 8.25, column0: 0, column1: 64 },
      aggregate: "rms",
      scale: "fixed",
      fixed: 0.25,
      only: { low: -0.5, high: 1e-7 },
      order: { by: "change", rising: true },
      pins: [{ row: 3, column: 5 }, { row: 7, column: 0 }],
    },
    prompt: {
      kind: "summary",
      post: { subreddit: "tifu", title: "a & b", post: "Line one\nline two = 2?" },
      summary: "Short.",
      text: "",
    },
    keep: ["gradients", "layers.*.mlp.out.grad"],
    write: 24,
    layer: 2,
    head: 3,
    scale: "rank",
    sink: true,
    position: 17,
    other: "https://example.org/model/",
  };
  assertEquals(readAddress(writeAddress(address)), address);
  const text = { ...address, prompt: { ...address.prompt!, kind: "text" as const, text: "Once upon" } };
  assertEquals(readAddress(writeAddress(text)).prompt?.text, "Once upon");
});

Deno.test("rows alone are of all columns", () => {
  const { view } = readAddress("?rows=0~3000");
  assertEquals(view.rect, { row0: 0, row1: 3000, column0: 0, column1: Infinity });
  assertEquals(writeAddress({ ...usualAddress, view }), "?rows=0%7E3000");
});

Deno.test("what an address cannot mean is as usual", () => {
  const read = readAddress(
    "?pane=nowhere&layer=-1&rows=a~b&columns=1&pins=x~3.4&colours=mauve&high=-2&scale=loud&order=size",
  );
  assertEquals(read.pane, "tensor");
  assertEquals(read.layer, 0);
  assertEquals(read.view.rect, undefined);
  assertEquals(read.view.pins, [{ row: 3, column: 4 }]);
  assertEquals(read.view.scale, "quantile");
  assertEquals(read.view.fixed, undefined);
  assertEquals(read.view.order, undefined);
  assertEquals(read.scale, usualAddress.scale);
});
