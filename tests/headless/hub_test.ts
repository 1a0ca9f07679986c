/** Models and data from a Hub on loopback: what arrives, and what is said where a name, a token or the Hub itself is wrong. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { fetchDataset, fetchModel } from "../../headless/hub.ts";
import { filesUnder } from "../../headless/hub_cache.ts";
import { goodToken, plainToken } from "./hub_server.ts";
import { first, hubTest, model, posts, refuses, second, shards, weights } from "./hub_testing.ts";

hubTest(
  "a model: what is fetched, where it lies, and that a second time costs one question",
  async (place) => {
    const { server, home, notes } = place;
    const { folder, commit } = await fetchModel("Qwen/Tiny-0.5B", await place.options());
    assertEquals(commit, first);
    const repository = `${home}/hub/models--Qwen--Tiny-0.5B`;
    assertEquals(folder, `${repository}/snapshots/${first}`);
    assertEquals(await filesUnder(folder), [
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    assertEquals(await Deno.readFile(`${folder}/model.safetensors`), weights);
    assertEquals(await Deno.readTextFile(`${repository}/refs/main`), first);
    assertMatch(await Deno.readLink(`${folder}/model.safetensors`), /^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
    assertMatch(await Deno.readLink(`${folder}/config.json`), /^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    assertEquals((await filesUnder(`${repository}/blobs`)).length, 5);
    assertMatch(
      notes.at(-1)!,
      /^Model Qwen\/Tiny-0\.5B: commit 1111111 of main, 147 KiB fetched from 127\.0\.0\.1:\d+ to /,
    );

    const before = server.met.length;
    await fetchModel("Qwen/Tiny-0.5B", await place.options());
    assertEquals(server.met.length, before + 1);
    assertMatch(notes.at(-1)!, /commit 1111111 of main, in the cache, /);
  },
);

hubTest("shards are those that the index names", async (place) => {
  const { folder } = await fetchModel("Qwen/Sharded", await place.options());
  const found = await filesUnder(folder);
  assertEquals(
    found.filter((path) => path.includes("model")),
    [...shards, "model.safetensors.index.json"].sort(),
  );
  await refuses(
    async () => fetchModel("Qwen/Astray", await place.options()),
    "file",
    "no ../../x at 1111111",
  );
});

hubTest("revisions: a tag, a commit, and one that is pinned though main has moved", async (place) => {
  const options = await place.options();
  assertEquals((await fetchModel("Qwen/Tiny-0.5B@v1.0", options)).commit, first);
  assertEquals((await fetchModel(`Qwen/Tiny-0.5B@${second}`, options)).commit, second);
  model.refs.main = second;
  try {
    assertEquals((await fetchModel("Qwen/Tiny-0.5B", options)).commit, second);
    const before = place.server.met.length;
    const { folder, commit } = await fetchModel("Qwen/Tiny-0.5B", await place.options({}, first));
    assertEquals(commit, first);
    assertEquals(await Deno.readTextFile(`${folder}/config.json`), '{"model_type":"qwen2"}');
    assertEquals(place.server.met.length, before, "a pinned commit in the cache needs no question");
    assertMatch(place.notes.at(-1)!, /as in run\.json, wherever main is now/);
  } finally {
    model.refs.main = first;
  }
  const blobs = await filesUnder(`${place.home}/hub/models--Qwen--Tiny-0.5B/blobs`);
  assertEquals(blobs.length, 6, "weights of both commits are one blob");
});

hubTest(
  "data sets: parquet as it lies in the repository, a converted branch, and none at all",
  async (place) => {
    const { folder, commit, files } = await fetchDataset("vwxyzjn/posts", await place.options());
    assertEquals(commit, first);
    assertEquals(files.map(({ path }) => path), posts.commits[first].lfs);
    assertEquals(
      await Deno.readFile(`${folder}/${files[1].path}`),
      posts.commits[first].files[files[1].path],
    );
    const converted = await fetchDataset("vwxyzjn/posts@refs/convert/parquet", await place.options());
    assertEquals(converted.files, [{ path: "comparisons/train/0000.parquet" }]);
    await refuses(
      async () => fetchDataset("openai/scripted", await place.options()),
      "file",
      "neither parquet nor JSONL",
      "openai/scripted@refs/convert/parquet",
    );
  },
);

hubTest("a local folder goes before the Hub; what is neither is told so", async (place) => {
  const options = await place.options();
  assertEquals(await fetchModel(place.home, options), { folder: place.home, files: [] });
  await Deno.mkdir(`${place.home}/comparisons`);
  for (const name of ["train.jsonl", "comparisons/batch3.json", "notes.txt"]) {
    await Deno.writeTextFile(`${place.home}/${name}`, "");
  }
  const { commit, files } = await fetchDataset(place.home, options);
  assertEquals([commit, files], [undefined, [{ path: "comparisons/batch3.json" }, { path: "train.jsonl" }]]);
  await refuses(() => fetchModel("gpt2", options), "name", "no folder gpt2", "owner/name", "--model");
  await refuses(() => fetchModel("/no/such/place", options), "name", "no folder /no/such/place", "--model");
  await refuses(() => fetchModel("../up/down", options), "name", "no folder ../up/down");
  await refuses(() => fetchModel("a/b@../../c", options), "name", "owner/name@revision");
  await refuses(() => fetchDataset("a b/c", options), "name", "--data");
  await refuses(() => fetchModel(`${place.home}/notes.txt`, options), "name", "is a file");
  assertEquals(place.server.met.length, 0);
});

hubTest("names that the Hub does not know come back with the nearest", async (place) => {
  const options = await place.options();
  await refuses(() => fetchModel("Qwen/Tiny-0.5", options), "repository", "the nearest is Qwen/Tiny-0.5B.");
  await refuses(() => fetchModel("nobody/nothing", options), "repository", "nor a folder here", "HF_TOKEN");
  await refuses(
    () => fetchDataset("vwxyjn/summarize_from_feedback_tldr_3_filterd", options),
    "repository",
    "the nearest is vwxyzjn/summarize_from_feedback_tldr_3_filtered.",
  );
  await refuses(
    () => fetchModel("Qwen/Tiny-0.5B@v1.1", options),
    "revision",
    "no revision v1.1; the nearest is v1.0.",
  );
  await refuses(
    () => fetchModel("Qwen/Tiny-0.5B@zzzzzzzz", options),
    "revision",
    "/Qwen/Tiny-0.5B/tree/main.",
  );
  await refuses(() => fetchModel(`Qwen/Tiny-0.5B@${"3".repeat(40)}`, options), "revision", "3333");
  await refuses(
    () => fetchModel("Qwen/Blank", options),
    "file",
    "no config.json",
    "the nearest is confg.json",
  );
  await refuses(
    () => fetchModel("Qwen/Old", options),
    "file",
    "no weights in safetensors",
    "pytorch_model.bin",
  );
});

hubTest(
  "tokens: none, a wrong one, one without access, a good one, from a file; the storage host sees none",
  async (place) => {
    const { server, home } = place;
    await refuses(
      async () => fetchModel("Qwen/Private", await place.options()),
      "repository",
      "without a token",
    );
    await refuses(
      async () => fetchModel("Qwen/Gated", await place.options()),
      "access",
      `accept its conditions at ${server.endpoint}/Qwen/Gated`,
      "set HF_TOKEN",
    );
    await refuses(
      async () => fetchModel("Qwen/Gated", await place.options({ HF_TOKEN: plainToken })),
      "access",
      `${server.endpoint}/Qwen/Gated with the account of the token in HF_TOKEN`,
    );
    await refuses(
      async () => fetchModel("Qwen/Tiny-0.5B", await place.options({ HF_TOKEN: "stale" })),
      "access",
      "does not accept the token in HF_TOKEN",
      "/settings/tokens",
    );
    await Deno.writeTextFile(`${home}/token`, `${goodToken}\n`);
    assertEquals((await fetchModel("Qwen/Private", await place.options())).commit, first);
    assertEquals((await fetchModel("Qwen/Gated", await place.options())).commit, first);
    const atStorage = server.met.filter(({ host }) => host === "cdn");
    assert(atStorage.length > 0);
    assertEquals(atStorage.filter(({ authorization }) => authorization !== null), []);
  },
);

hubTest("something else than a Hub is told from one", async (place) => {
  place.server.fault = () => new Response("<html>Log in to the hotel's network</html>");
  await refuses(async () => fetchModel("Qwen/Tiny-0.5B", await place.options()), "name", "check HF_ENDPOINT");
  place.server.fault = () => Response.json({ sha: "../../elsewhere" });
  await refuses(async () => fetchModel("Qwen/Tiny-0.5B", await place.options()), "name", "check HF_ENDPOINT");
  const file = (more: Record<string, unknown>) => ({
    type: "file",
    path: "config.json",
    oid: "0".repeat(40),
    size: 2,
    ...more,
  });
  for (
    const bad of [{ oid: "../../../x" }, { size: -1 }, { size: undefined }, { lfs: { oid: "0/1", size: 2 } }]
  ) {
    place.server.fault = ({ path }) =>
      path.includes("/tree/")
        ? Response.json([
          file(bad),
          ...["tokenizer.json", "tokenizer_config.json", "model.safetensors"].map((path) => file({ path })),
        ])
        : undefined;
    await refuses(
      async () => fetchModel("Qwen/Tiny-0.5B", await place.options()),
      "damaged",
      '"config.json"',
    );
    await Deno.remove(`${place.home}/hub`, { recursive: true });
  }
  place.server.fault = ({ path }) =>
    path.includes("/tree/") ? Response.json([file({ path: "C:/x.parquet" })]) : undefined;
  await refuses(
    async () => fetchDataset("vwxyzjn/posts", await place.options()),
    "damaged",
    "C:/x.parquet",
  );
});

hubTest("offline: what is in the cache is found, what is not is named", async (place) => {
  const offline = () => place.options({ HF_HUB_OFFLINE: "1" });
  await refuses(
    async () => fetchModel("Qwen/Tiny-0.5B", await offline()),
    "offline",
    "HF_HUB_OFFLINE",
    "at main",
  );
  const { folder } = await fetchModel("Qwen/Tiny-0.5B@v1.0", await place.options());
  await refuses(async () => fetchModel("Qwen/Tiny-0.5B", await offline()), "offline", "(only v1.0)");
  await fetchDataset("vwxyzjn/posts", await place.options());
  const before = place.server.met.length;
  assertEquals((await fetchModel("Qwen/Tiny-0.5B@v1.0", await offline())).folder, folder);
  assertEquals((await fetchModel(`Qwen/Tiny-0.5B@${first}`, await offline())).folder, folder);
  const { files } = await fetchDataset("vwxyzjn/posts", await offline());
  assertEquals(files.length, 3);

  // A cache that an older huggingface_hub filled has no lists of files.
  for (const name of ["models--Qwen--Tiny-0.5B", "datasets--vwxyzjn--posts"]) {
    await Deno.remove(`${place.home}/hub/${name}/trees`, { recursive: true });
  }
  assertEquals((await fetchModel("Qwen/Tiny-0.5B@v1.0", await offline())).folder, folder);
  const { folder: data, files: same } = await fetchDataset("vwxyzjn/posts", await offline());
  assertEquals(same, files);
  await Deno.remove(`${data}/${files[1].path}`);
  await refuses(
    async () => fetchDataset("vwxyzjn/posts", await offline()),
    "offline",
    "data/train-00001-of-00002 of dataset vwxyzjn/posts",
  );
  await Deno.remove(`${folder}/model.safetensors`);
  await refuses(
    async () => fetchModel("Qwen/Tiny-0.5B@v1.0", await offline()),
    "offline",
    "model.safetensors of model Qwen",
  );
  await Deno.remove(`${folder}/tokenizer.json`);
  await refuses(
    async () => fetchModel("Qwen/Tiny-0.5B@v1.0", await offline()),
    "offline",
    "tokenizer.json of model Qwen",
  );
  assertEquals(place.server.met.length, before);
});

hubTest(
  "out of reach: the cache is taken as last seen, and without one the sentence says what to try",
  async (place) => {
    await fetchModel("Qwen/Tiny-0.5B", await place.options());
    await place.server.stop();
    place.server.stop = () => Promise.resolve();
    const { commit } = await fetchModel("Qwen/Tiny-0.5B", await place.options());
    assertEquals(commit, first);
    assertMatch(
      place.notes.join("\n"),
      /cannot be reached .*; taking model Qwen\/Tiny-0\.5B as last seen, at 1111111\./,
    );
    await refuses(
      async () => fetchModel("Qwen/Sharded", await place.options()),
      "unreachable",
      "it refuses the connection",
      "tried 4 times",
      "HF_ENDPOINT",
      "local folder",
    );
    await refuses(
      async () => fetchModel("Qwen/Sharded", await place.options({ HF_ENDPOINT: "http://hub.invalid" })),
      "unreachable",
      "hub.invalid cannot be reached (its name cannot be resolved)",
    );
  },
);
