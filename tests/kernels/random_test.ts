import { assert, assertEquals } from "deno-std/assert/mod.js";
import { elementwise } from "../../kernels/gpu.ts";
import { kernel } from "../../kernels/kernel.ts";
import { gumbel, philox, randomPreamble } from "../../kernels/random.ts";
import { assertClose, gpuTest, uniforms } from "./testing.ts";

// Known answers of philox4x32-10 from the authors' Random123 distribution (kat_vectors): counter, key, output.
const known: [number[], number[], number[]][] = [
  [[0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
  [Array(4).fill(0xffffffff), Array(2).fill(0xffffffff), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

const draw = kernel(
  "test_random",
  `${randomPreamble}
struct Params { size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> asked: array<u32>;
@group(0) @binding(2) var<storage, read_write> words: array<u32>;
@group(0) @binding(3) var<storage, read_write> variates: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.size) { return; }
  let a = id.x * 6u;
  let drawn = philox(vec4u(asked[a], asked[a + 1u], asked[a + 2u], asked[a + 3u]), vec2u(asked[a + 4u], asked[a + 5u]));
  for (var k = 0u; k < 4u; k++) {
    words[id.x * 4u + k] = drawn[k];
    variates[id.x * 4u + k] = gumbel(drawn[k]);
  }
}`,
);

const bits = kernel(
  "test_gumbel",
  `${randomPreamble}
struct Params { size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> asked: array<u32>;
@group(0) @binding(2) var<storage, read_write> variates: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.size) { variates[id.x] = gumbel(asked[id.x]); }
}`,
);

Deno.test("the host's Philox gives the known answers", () => {
  for (const [counter, key, words] of known) assertEquals(philox(counter, key), words);
});

gpuTest(
  "the shader's Philox agrees with the host's in every bit, and its Gumbel variates to a rounding",
  async (gpu) => {
    const next = uniforms(3);
    const asked = [...known.map(([counter, key]) => [...counter, ...key])];
    while (asked.length < 500) asked.push(Array.from({ length: 6 }, () => Math.floor(next() * 2 ** 32)));
    const size = asked.length;
    const [words, variates] = gpu.scope(() => {
      const words = gpu.empty([size, 4], "words", "u32"), variates = gpu.empty([size, 4], "variates");
      const tensor = gpu.from(Uint32Array.from(asked.flat()), [size, 6], "asked");
      gpu.run(draw, { asked: tensor, words, variates }, { size }, elementwise(size));
      return [words, variates];
    });
    const drawn = asked.flatMap((row) => philox(row.slice(0, 4), row.slice(4)));
    assertEquals([...(await gpu.readU32(words))[0]], drawn);
    assertClose((await gpu.read(variates))[0], drawn.map(gumbel), 2e-6, "variates");
    gpu.release(words);
    gpu.release(variates);
  },
);

gpuTest("Gumbel variates are finite and exact at both ends of the range of bits", async (gpu) => {
  const ends = [
    0,
    1,
    2,
    1000,
    2 ** 20,
    429496729,
    429496730,
    2 ** 31,
    2 ** 32 - 129,
    2 ** 32 - 2,
    2 ** 32 - 1,
  ];
  const variates = gpu.scope(() => {
    const variates = gpu.empty([ends.length], "variates");
    const asked = gpu.from(Uint32Array.from(ends), [ends.length], "asked");
    gpu.run(bits, { asked, variates }, { size: ends.length }, [1]);
    return variates;
  });
  const [actual] = await gpu.read(variates);
  gpu.release(variates);
  assertClose(actual, ends.map(gumbel), 2e-6);
  assert(actual[0] > 22 && actual.at(-1)! < -3);
});
