/** Our cache and Python's are one: golden/hub_cache.json is what huggingface_hub left behind (tests/oracles/hub_cache.ts). */
import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { dirname } from "node:path";
import { fetchDataset, fetchModel, isAtHand } from "../../headless/hub.ts";
import { readTree, withLock } from "../../headless/hub_cache.ts";
import { hubSettings } from "../../headless/hub_settings.ts";
import { silent } from "../../lab/progress.ts";
import { fixtureCommit, fixtureFiles, fixtureRepositories, listCache } from "../oracles/hub_fixture.ts";
import { serveHub } from "./hub_server.ts";

type Golden = Record<string, string | { link: string } | { bytes: number } | { format_version: number }>;
const golden: Golden =
  JSON.parse(await Deno.readTextFile(new URL("../oracles/golden/hub_cache.json", import.meta.url))).cache;

const options = async (home: string, endpoint: string, offline = false) => {
  const variables: Record<string, string> = {
    HF_HOME: home,
    HF_ENDPOINT: endpoint,
    HF_HUB_OFFLINE: offline ? "1" : "",
  };
  return { progress: silent, settings: await hubSettings((name) => variables[name]) };
};

Deno.test("what we fetch lies where huggingface_hub would have put it, to the last link and list", async () => {
  const home = await Deno.makeTempDir();
  const server = serveHub(fixtureRepositories);
  try {
    await fetchModel("owner/a-model", await options(home, server.endpoint));
    await fetchDataset("owner/a.data_set", await options(home, server.endpoint));
    assertEquals(await listCache(`${home}/hub`), golden);
  } finally {
    await server.stop();
    await Deno.remove(home, { recursive: true });
  }
});

Deno.test("what huggingface_hub has fetched is found offline, with its lists of files or without", async () => {
  const home = await Deno.makeTempDir();
  try {
    for (const [path, what] of Object.entries(golden)) {
      const file = `${home}/hub/${path}`;
      await Deno.mkdir(dirname(file), { recursive: true });
      if (typeof what === "string") await Deno.writeTextFile(file, what === "lock" ? "" : what);
      else if ("link" in what) await Deno.symlink(what.link, file);
      else if ("bytes" in what) await Deno.writeFile(file, new Uint8Array(what.bytes));
      else await Deno.writeTextFile(file, JSON.stringify(what));
    }
    const listed = await readTree(`${home}/hub/models--owner--a-model`, fixtureCommit);
    assertEquals(listed?.find(({ path }) => path === "model.safetensors")?.size, 3000);
    for (const trees of ["with", "without"]) {
      if (trees === "without") {
        for (const name of ["models--owner--a-model", "datasets--owner--a.data_set"]) {
          await Deno.remove(`${home}/hub/${name}/trees`, { recursive: true });
        }
      }
      const offline = await options(home, "http://hub.invalid", true);
      const model = await fetchModel("owner/a-model", offline);
      assertEquals(model, {
        folder: `${home}/hub/models--owner--a-model/snapshots/${fixtureCommit}`,
        commit: fixtureCommit,
        files: fixtureFiles.model,
      });
      const { files } = await fetchDataset("owner/a.data_set", offline);
      assertEquals(files.map(({ path }) => path), [
        "data/train-00000-of-00001.parquet",
        "data/validation-00000-of-00001.parquet",
      ]);
    }
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});

Deno.test("a lock is held by one at a time, also where the work fails", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const lock = `${folder}/deep/x.lock`;
    let inside = 0, waited = 0, most = 0;
    const work = async () => {
      most = Math.max(most, ++inside);
      await new Promise((resume) => setTimeout(resume, 20));
      inside--;
    };
    await Promise.all([1, 2, 3].map(() => withLock(lock, () => waited++, work)));
    assertEquals([most, waited], [1, 2]);
    await assertRejects(
      () => withLock(lock, () => {}, () => Promise.reject(new Error("broken"))),
      Error,
      "broken",
    );
    await withLock(lock, () => assert(false, "it was not given back"), work);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("at hand is a folder, or a repository of which something is in the cache", async () => {
  const home = await Deno.makeTempDir();
  const before = Deno.env.get("HF_HOME");
  try {
    Deno.env.set("HF_HOME", home);
    assert(await isAtHand("model", home));
    assert(!await isAtHand("model", "owner/a-model"));
    assert(!await isAtHand("model", "/no/such/folder"));
    const server = serveHub(fixtureRepositories);
    await fetchModel("owner/a-model", await options(home, server.endpoint));
    await server.stop();
    assert(await isAtHand("model", "owner/a-model"));
    assert(await isAtHand("model", `owner/a-model@${fixtureCommit}`));
    assert(!await isAtHand("model", "owner/a-model@other"));
    assert(!await isAtHand("dataset", "owner/a-model"));
  } finally {
    if (before === undefined) Deno.env.delete("HF_HOME");
    else Deno.env.set("HF_HOME", before);
    await Deno.remove(home, { recursive: true });
  }
});
