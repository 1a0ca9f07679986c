/** OpenAI's comparison batches from a plain server on loopback. */
import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import { fetchDataset, type FetchOptions } from "../../headless/hub.ts";
import { filesUnder } from "../../headless/hub_cache.ts";
import { DamagedFileError } from "../../lab/bytes.ts";
import { HubError } from "../../headless/hub_errors.ts";
import { hubSettings } from "../../headless/hub_settings.ts";
import { batchNames } from "../../headless/openai_batches.ts";
import { serveHub } from "./hub_server.ts";

const under = "/summarize-from-feedback/dataset/comparisons";
const content = (name: string) => new TextEncoder().encode(`{"batch":"${name}"}\n`.repeat(500));

Deno.test("the batches: 3 to 20, 22, CNN/DM and edit_b2_eval_test, without a 21st", () => {
  assertEquals(batchNames.length, 23);
  for (
    const name of ["batch3", "batch20", "batch22", "batch0_cnndm", "cnndm0", "cnndm2", "edit_b2_eval_test"]
  ) {
    assert(batchNames.includes(`${name}.json`), name);
  }
  assert(!batchNames.includes("batch21.json"));
});

Deno.test("batches from a URL", async (t) => {
  const plain = Object.fromEntries(batchNames.map((name) => [`${under}/${name}`, content(name)]));
  const server = serveHub({}, { plain });
  const home = await Deno.makeTempDir({ prefix: "precis-hub-" });
  const base = server.endpoint + under;
  const folder = `${home}/assets/precis/${new URL(base).host.replace(":", "_")}${under}`;
  const notes: string[] = [];
  const note = (sentence: string) => void notes.push(sentence);
  const options = async (variables: Record<string, string> = {}, pinned?: string): Promise<FetchOptions> => ({
    progress: { note, stage: () => ({ step() {}, note, done() {} }) },
    settings: await hubSettings((name) => ({ HF_HOME: home, HF_TOKEN: "hf_secret", ...variables })[name]),
    patience: { tries: 3, silence: 2000, wait: () => Promise.resolve() },
    pinned,
  });
  const refuses = async (work: () => Promise<unknown>, ...words: string[]) => {
    const { message } = await assertRejects(work, HubError);
    for (const word of words) assert(message.includes(word), `"${message}" lacks "${word}"`);
  };

  await t.step("offline with nothing there", async () =>
    await refuses(
      async () => fetchDataset(base, await options({ HF_HUB_OFFLINE: "1" })),
      "HF_HUB_OFFLINE",
      folder,
      "--comparisons",
    ));

  await t.step(
    "a missing file, a refusal and a server out of order are told; what came before them stays",
    async () => {
      server.fault = ({ method, path }) =>
        method === "GET" && path.endsWith("/batch5.json") ? new Response(null, { status: 403 }) : undefined;
      await refuses(async () => fetchDataset(base, await options()), "refuses", "batch5.json", "403");
      server.fault = ({ path }) =>
        path.endsWith("/batch7.json") ? new Response(null, { status: 404 }) : undefined;
      await refuses(
        async () => fetchDataset(base, await options()),
        "There is no",
        "batch7.json",
        "--comparisons",
      );
      server.fault = ({ path }) =>
        path.endsWith("/cnndm2.json") ? new Response(null, { status: 500 }) : undefined;
      await refuses(async () => fetchDataset(base, await options()), "500, tried 3 times");
      assert((await filesUnder(folder)).includes("batch4.json"));
      assertEquals(await Deno.stat(`${folder}.json`).then(() => true, () => false), false);
    },
  );

  let commit: string;
  await t.step("a cut goes on, wrong bytes are fetched again, and files that are there are not", async () => {
    const before = server.met.length;
    server.fault = ({ method, path, count }) =>
      method !== "GET" || count > 1
        ? undefined
        : path.endsWith("/batch8.json")
        ? { cutAfter: 4096 }
        : path.endsWith("/batch9.json")
        ? { wrong: true }
        : undefined;
    const fetched = await fetchDataset(base, await options());
    commit = fetched.commit!;
    assertMatch(commit, /^[0-9a-f]{40}$/);
    assertEquals(fetched.folder, folder);
    assertEquals(fetched.files.map(({ path }) => path), batchNames);
    assertEquals(await filesUnder(folder), batchNames);
    for (const name of batchNames) assertEquals(await Deno.readFile(`${folder}/${name}`), content(name));
    const gets = server.met.slice(before).filter(({ method }) => method === "GET");
    assert(!gets.some(({ path }) => path.endsWith("/batch4.json")));
    assertEquals(gets.filter(({ path }) => path.endsWith("/batch8.json")).map(({ range }) => range), [
      null,
      "bytes=4096-",
    ]);
    assertMatch(notes.join("\n"), /batch9\.json arrived with the wrong MD5/);
    assertEquals((await filesUnder(folder)).filter((name) => name.endsWith(".incomplete")), []);
    assert(server.met.every(({ authorization }) => authorization === null), "the token is for the Hub alone");
  });

  await t.step(
    "once there, nothing is asked, offline or not, and other files than pinned are refused",
    async () => {
      const before = server.met.length;
      assertEquals((await fetchDataset(`${base}/`, await options({ HF_HUB_OFFLINE: "1" }))).commit, commit);
      assertEquals((await fetchDataset(base, await options({}, commit))).commit, commit);
      await refuses(
        async () => fetchDataset(base, await options({}, "f".repeat(40))),
        "not those that this run began with",
        "--out",
      );
      assertEquals(server.met.length, before);
    },
  );

  await t.step("a beginning of a file that has changed since is not gone on with", async () => {
    await Deno.remove(`${folder}/batch3.json`);
    await Deno.writeTextFile(`${folder}/batch3.json.0123456789abcdef.incomplete`, "of an older version");
    assertEquals((await fetchDataset(base, await options())).commit, commit);
    assertEquals(await Deno.readFile(`${folder}/batch3.json`), content("batch3.json"));
    assert(!(await filesUnder(folder)).some((name) => name.endsWith(".incomplete")));
  });

  await t.step("a damaged list says what to do, and doing it costs no download", async () => {
    const list = await Deno.readTextFile(`${folder}.json`);
    await Deno.writeTextFile(`${folder}.json`, list.slice(0, 100));
    const { message } = await assertRejects(
      async () => fetchDataset(base, await options()),
      DamagedFileError,
    );
    assert(message.includes(`${folder}.json is damaged; remove it`), message);
    await Deno.remove(`${folder}.json`);
    const before = server.met.length;
    assertEquals((await fetchDataset(base, await options())).commit, commit);
    assertEquals(server.met.slice(before).filter(({ method }) => method === "GET"), []);
  });

  await server.stop();
  await Deno.remove(home, { recursive: true });
});
