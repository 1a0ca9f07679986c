/** Downloads over bad connections, from bad servers, onto bad disks. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { fetchModel } from "../../headless/hub.ts";
import { filesUnder } from "../../headless/hub_cache.ts";
import { goodToken } from "./hub_server.ts";
import { first, hubTest, noise, refuses, sharded, shards, weights } from "./hub_testing.ts";

hubTest("progress counts bytes to the end, those of an earlier try included", async (place) => {
  place.server.fault = ({ host }) => host === "cdn" ? { cutAfter: 40_000 } : undefined;
  const options = { ...await place.options(), patience: { ...(await place.options()).patience!, tries: 1 } };
  await refuses(() => fetchModel("Qwen/Tiny-0.5B", options), "busy", "39.1 KiB", "what has arrived is kept");
  place.server.fault = () => undefined;
  place.steps.length = 0;
  await fetchModel("Qwen/Tiny-0.5B", await place.options());
  assert(place.steps[0] >= 40_000, `began at ${place.steps[0]}`);
  assertEquals(place.steps.at(-1), 150_000);
  assertEquals(place.steps, place.steps.toSorted((a, b) => a - b));
  assertMatch(place.notes.at(-1)!, /107 KiB fetched/);
});

hubTest("a connection that breaks goes on where it broke", async (place) => {
  let cuts = 0;
  place.server.fault = ({ host }) => host === "cdn" && cuts++ < 6 ? { cutAfter: 20_000 } : undefined;
  const { folder } = await fetchModel("Qwen/Tiny-0.5B", await place.options());
  assertEquals(await Deno.readFile(`${folder}/model.safetensors`), weights);
  const ranges = place.server.met.filter(({ host }) => host === "cdn").map(({ range }) => range);
  assertEquals(ranges[0], null);
  assertEquals(ranges.length, 7, "six breaks, each further on, are more than the four tries in one place");
  const starts = ranges.slice(1).map((range) => Number(/^bytes=(\d+)-$/.exec(range!)![1]));
  assertEquals(starts, starts.toSorted((a, b) => a - b));
  assert(starts[5] > 60_000, starts.join());
  assertMatch(
    place.notes.join("\n"),
    /broke off at .* of the 146 KiB of model\.safetensors.*trying again in 1\.0 s \(try 2 of 4\)/,
  );
});

hubTest("a server that ignores ranges, or denies them, sends all again", async (place) => {
  let count = 0;
  place.server.fault = ({ host }) =>
    host !== "cdn" ? undefined : ++count === 1 ? { cutAfter: 20_000 } : "ignore range";
  const { folder } = await fetchModel("Qwen/Tiny-0.5B", await place.options());
  assertEquals(await Deno.readFile(`${folder}/model.safetensors`), weights);

  count = 0;
  place.server.fault = ({ host }) =>
    host !== "cdn"
      ? undefined
      : ++count === 1
      ? { cutAfter: 1000 }
      : count === 2
      ? new Response(null, { status: 416 })
      : undefined;
  const shardedFolder = (await fetchModel("Qwen/Sharded", await place.options())).folder;
  assertEquals(await Deno.readFile(`${shardedFolder}/${shards[0]}`), sharded.commits[first].files[shards[0]]);
  assertMatch(place.notes.join("\n"), /416/);
});

hubTest("wrong bytes are thrown away and fetched once more, then it is an error", async (place) => {
  place.server.fault = ({ host, count }) => host === "cdn" && count === 1 ? { wrong: true } : undefined;
  const { folder } = await fetchModel("Qwen/Tiny-0.5B", await place.options());
  assertEquals(await Deno.readFile(`${folder}/model.safetensors`), weights);
  assertMatch(place.notes.join("\n"), /wrong SHA-256 .*fetching it once more/);

  place.server.fault = ({ path }) => path.includes("resolve-cache") ? { wrong: true } : undefined;
  await refuses(
    async () => fetchModel("Qwen/Sharded", await place.options()),
    "damaged",
    "wrong git hash",
    "twice",
    "HF_ENDPOINT",
  );
  const left = await filesUnder(`${place.home}/hub/models--Qwen--Sharded/blobs`);
  assertEquals(left, [], "nothing of it is kept");
});

hubTest("a beginning with wrong bytes is found out at the end", async (place) => {
  const blobs = `${place.home}/hub/models--Qwen--Tiny-0.5B/blobs`;
  const { folder } = await fetchModel("Qwen/Tiny-0.5B", await place.options());
  const blob = await Deno.realPath(`${folder}/model.safetensors`);
  await Deno.remove(blob);
  await Deno.writeFile(`${blob}.incomplete`, noise(30_000, 77));
  await fetchModel("Qwen/Tiny-0.5B", await place.options());
  assertEquals(await Deno.readFile(`${folder}/model.safetensors`), weights);
  assertMatch(place.notes.join("\n"), /Going on with model\.safetensors.* at 29\.3 KiB of 146 KiB/);
  assertEquals((await filesUnder(blobs)).filter((name) => name.endsWith(".incomplete")), []);
  // A blob that some other program left too short is no blob.
  await Deno.truncate(blob, 1000);
  await fetchModel("Qwen/Tiny-0.5B", await place.options());
  assertEquals(await Deno.readFile(`${folder}/model.safetensors`), weights);
});

hubTest("429 waits as long as it is told to, 503 longer each time, and both say how often", async (place) => {
  const { server, waits, notes } = place;
  const answers = [
    new Response(null, { status: 429, headers: { "Retry-After": "7" } }),
    new Response(null, { status: 429, headers: { RateLimit: '"api";r=0;t=55' } }),
    new Response(null, { status: 503 }),
  ];
  server.fault = ({ path }) =>
    path.startsWith("/api/models/Qwen/Tiny-0.5B/revision") ? answers.shift() : undefined;
  await fetchModel("Qwen/Tiny-0.5B", await place.options());
  assertEquals(waits, [7000, 55_000, 4000]);
  assertMatch(notes[0], /answers 429, too many requests; trying again in 7\.0 s \(try 2 of 4\)\.$/);

  waits.length = 0;
  server.fault = ({ host, method }) =>
    host === "cdn" && method === "GET" ? new Response(null, { status: 503 }) : undefined;
  await refuses(
    async () => fetchModel("Qwen/Sharded", await place.options()),
    "busy",
    "503, tried 4 times",
    "kept",
  );
  assertEquals(waits, [1000, 2000, 4000]);
  server.fault = () => new Response(null, { status: 429, headers: { "Retry-After": "86400" } });
  await refuses(
    async () => fetchModel("Qwen/Old", await place.options()),
    "busy",
    "asks to wait 1 d 00:00",
    "HF_TOKEN",
  );
});

hubTest(
  "an address that has run out is signed anew; other refusals are told with what the server says",
  async (place) => {
    place.server.fault = ({ host, count }) =>
      host !== "cdn"
        ? undefined
        : count === 1
        ? { cutAfter: 20_000 }
        : count === 2
        ? new Response(null, { status: 403 })
        : undefined;
    await fetchModel("Qwen/Tiny-0.5B", await place.options());
    const asked = place.server.met.filter(({ path }) =>
      path.endsWith("/resolve/" + first + "/model.safetensors")
    );
    assertEquals(asked.length, 3, "each try asks the Hub for the address");
    const refusal = { status: 403, headers: { "X-Error-Message": "Access to this resource is disabled." } };
    place.server.fault = ({ path }) => path.includes("/resolve/") ? new Response(null, refusal) : undefined;
    await refuses(
      async () => fetchModel("Qwen/Sharded", await place.options({ HF_TOKEN: goodToken })),
      "access",
      "answers 403 to model.safetensors.index.json of model Qwen/Sharded: Access to this resource is disabled; look at",
      "what the token in HF_TOKEN may do",
    );
    place.server.fault = ({ path }) =>
      path.endsWith("/config.json") ? new Response(null, { status: 404 }) : undefined;
    await refuses(
      async () => fetchModel("Qwen/Old@main", await place.options()),
      "file",
      "pytorch_model.bin",
    );
    await refuses(
      async () => fetchModel("Qwen/Sharded", await place.options()),
      "file",
      "no file config.json at revision main, though its list names it",
    );
  },
);

hubTest("a file where the cache should be is named", async (place) => {
  const cache = `${place.home}/file`;
  await Deno.writeTextFile(cache, "");
  await refuses(
    async () => fetchModel("Qwen/Tiny-0.5B", await place.options({ HF_HUB_CACHE: cache })),
    "disk",
    `Could not write ${cache}: `,
    /a file is in the way|part of the path is a file/,
    "HF_HOME",
  );
});

hubTest("a server that falls silent is given up and asked again", async (place) => {
  place.server.fault = ({ host, count }) => host === "cdn" && count === 1 ? { slow: 60_000 } : undefined;
  const options = await place.options();
  await fetchModel("Qwen/Tiny-0.5B", { ...options, patience: { ...options.patience!, silence: 300 } });
  assertMatch(place.notes.join("\n"), /broke off at 4 KiB of the 146 KiB/);
});
