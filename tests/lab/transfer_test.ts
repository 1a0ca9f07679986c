import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { DamagedFileError, memoryFiles } from "../../lab/bytes.ts";
import { openCheckpoint } from "../../lab/checkpoint_files.ts";
import { loadQwen2, saveQwen2 } from "../../lab/qwen2.ts";
import { safetensorsBytes } from "../../lab/safetensors.ts";
import { fillTensors, readPieces } from "../../lab/transfer.ts";
import { diskFiles } from "../../headless/files.ts";
import { gpuTest } from "../kernels/testing.ts";
import { goldenPath } from "./golden.ts";

/** Above the size of one piece, so that a second one begins. */
const long = 5 << 20;

gpuTest("tensors of several pieces come back as they were stored, whatever the dtype", async (gpu) => {
  const values = Float32Array.from({ length: long }, (_, i) => i % 201 - 100);
  for (const dtype of ["BF16", "F16", "F32", "F64"] as const) {
    const files = memoryFiles();
    const plans = [{ name: "a", dtype, shape: [3] }, { name: "b", dtype, shape: [long] }];
    const bytes = safetensorsBytes(
      plans,
      ({ name }) => {
        const all = name === "a" ? values.subarray(7, 10) : values;
        return dtype === "F64" ? Float64Array.from(all) : all;
      },
    );
    await files.writeAtomic("model.safetensors", bytes);
    const tensor = gpu.persistent([long + 3], "all");
    await fillTensors(gpu, await openCheckpoint(files, ""), [
      { name: "a", from: 1, size: 2, tensor, to: 0 },
      { name: "b", from: 0, size: long, tensor, to: 2 },
    ]);
    let at = 2;
    assertEquals(await gpu.readPart(tensor, 0, 3), Float32Array.of(values[8], values[9], values[0]));
    for await (const piece of readPieces(gpu, tensor, 2, long)) {
      assert(piece.every((value, i) => value === values[at - 2 + i]), dtype);
      at += piece.length;
    }
    assertEquals(at, long + 2);
    gpu.drop(tensor);
  }
});

gpuTest(
  "a number that is not finite is refused by file, tensor and element, and nothing stays allocated",
  async (gpu) => {
    const whole = await loadQwen2(gpu, diskFiles(), goldenPath("qwen2_tied"), "whole");
    const gate = whole.parameters.get("layers.1.mlp.gateUp.weight");
    for (const [dtype, value] of [["BF16", NaN], ["F16", -Infinity], ["F32", Infinity]] as const) {
      const files = memoryFiles();
      // The first row of "up" lies behind all rows of "gate" in our own tensor.
      const element = 4321, before = await gpu.readPart(gate, gate.size / 2 + element, 1);
      gpu.upload(gate, Float32Array.of(value), gate.size / 2 + element);
      await saveQwen2(gpu, files, "m", whole, { dtype });
      gpu.upload(gate, before, gate.size / 2 + element);
      const { bytes } = gpu.memory;
      await assertRejects(
        () => loadQwen2(gpu, files, "m", "broken"),
        DamagedFileError,
        `m/model.safetensors: tensor "model.layers.1.mlp.up_proj.weight" holds ${value} at element ${element};`,
      );
      gpu.trim();
      assert(gpu.memory.bytes <= bytes, `${gpu.memory.bytes} bytes after, ${bytes} before`);
    }
    whole.parameters.drop();
  },
);
