/**
 * Holds our cache against Python's, both ways, and writes golden/hub_cache.json: what huggingface_hub leaves behind after fetching the
 * fixture from a server on loopback. In an environment outside the repository:
 *
 *     python3 -m venv /tmp/venv && /tmp/venv/bin/pip install huggingface_hub==2.4.0
 *     deno run -A tests/oracles/hub_cache.ts /tmp/venv/bin/python
 */
import { assertEquals } from "deno-std/assert/mod.js";
import { fetchDataset, fetchModel } from "../../headless/hub.ts";
import { hubSettings } from "../../headless/hub_settings.ts";
import { silent } from "../../lab/progress.ts";
import { serveHub } from "../headless/hub_server.ts";
import { fixtureCommit, fixtureFiles, fixtureRepositories, listCache } from "./hub_fixture.ts";

const [python] = Deno.args;
if (!python) throw new Error("Name a Python that has huggingface_hub: hub_cache.ts /tmp/venv/bin/python");
const server = serveHub(fixtureRepositories);
const theirs = await Deno.makeTempDir(), ours = await Deno.makeTempDir();

async function inPython(what: "fetch" | "find", home: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(python, {
    args: [new URL("hub_cache.py", import.meta.url).pathname, what, fixtureCommit],
    env: {
      HF_HOME: home,
      HF_ENDPOINT: server.endpoint,
      HF_HUB_OFFLINE: what === "find" ? "1" : "0",
      MODEL_FILES: JSON.stringify(fixtureFiles.model),
      DATASET_FILES: JSON.stringify(fixtureFiles.dataset),
    },
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

async function inOurs(home: string, offline: boolean): Promise<void> {
  const variables: Record<string, string> = { HF_HOME: home, HF_ENDPOINT: server.endpoint, HF_HUB_OFFLINE: offline ? "1" : "" };
  const options = { progress: silent, settings: await hubSettings((name) => variables[name]) };
  assertEquals((await fetchModel("owner/a-model", options)).commit, fixtureCommit);
  assertEquals((await fetchDataset("owner/a.data_set", options)).files.length, 2);
}

const version = await inPython("fetch", theirs);
const cache = await listCache(`${theirs}/hub`);
await inOurs(theirs, true);
console.log(`huggingface_hub ${version}: what it fetched, we find offline`);
await inOurs(ours, false);
await inPython("find", ours);
console.log("what we fetched, it finds offline");
const golden = new URL("golden/hub_cache.json", import.meta.url);
await Deno.writeTextFile(golden, JSON.stringify({ huggingface_hub: version, cache }, null, 1) + "\n");
assertEquals(await listCache(`${ours}/hub`), cache);
console.log("both caches are alike");
await server.stop();
for (const home of [theirs, ours]) await Deno.remove(home, { recursive: true });
