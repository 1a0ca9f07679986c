/** The judge's side of the world: the endpoint that the environment names, and a look at the judge before hours are spent on a run. */
import { DamagedFileError, type Files, joinPath } from "../lab/bytes.ts";
import type { Config } from "../lab/config.ts";
import type { Endpoint } from "../lab/judges/endpoint.ts";
import { openCheckpoint, requireTensors } from "../lab/checkpoint_files.ts";
import type { Progress } from "../lab/progress.ts";
import { readQwen2Config } from "../lab/qwen2.ts";
import { expectedTensors } from "../lab/qwen2_config.ts";
import type { Run } from "../lab/run.ts";
import { folderDigest } from "../lab/stages/judging.ts";
import { fetchModel } from "./hub.ts";

const openai = "https://api.openai.com/v1";

/**
 * The endpoint of OPENAI_BASE_URL, or OpenAI's own, with the key of OPENAI_API_KEY. Servers of one's own need no key.
 * @param variable gives the value of an environment variable
 * @throws RangeError where the address is no HTTP address, or a key is missing or cannot be one; the message does not show the key
 */
export function endpointFromEnvironment(variable: (name: string) => string | undefined): Endpoint {
  const url = variable("OPENAI_BASE_URL")?.trim() || openai;
  const key = variable("OPENAI_API_KEY")?.trim() || undefined;
  const parsed = URL.parse(url);
  if (!parsed || !/^https?:$/.test(parsed.protocol)) {
    throw new RangeError(`OPENAI_BASE_URL is no HTTP address; give one such as ${openai}.`);
  }
  if (parsed.username || parsed.password) {
    throw new RangeError("OPENAI_BASE_URL has a name or password in it; give the key in OPENAI_API_KEY.");
  }
  if (!key && url === openai) {
    throw new RangeError(
      "evaluate.judge openai needs OPENAI_API_KEY, or OPENAI_BASE_URL for a server without keys.",
    );
  }
  if (key && !/^[\x21-\x7e]+$/.test(key)) {
    throw new RangeError("OPENAI_API_KEY has characters that no key has; copy it again.");
  }
  return {
    url,
    key,
    fetch: (address, init) => fetch(address, init),
    wait: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
    now: () => performance.now(),
  };
}

/**
 * Looks whether the configured judge is there, before hours are spent: the endpoint's variables, or a model of the right kind, which is
 * fetched where it is a Hub id.
 * @throws in one sentence where it is not
 */
export async function findJudge(
  files: Files,
  { evaluate: { judge, judgeModel } }: Config,
  variable: (name: string) => string | undefined,
  progress: Progress,
): Promise<Run["judge"]> {
  if (judge === "openai") return { endpoint: endpointFromEnvironment(variable) };
  if (judge !== "second" && judge !== "local") return undefined;
  const { folder } = await fetchModel(judgeModel, { progress, flag: "--evaluate.judgeModel" });
  if (!await files.exists(joinPath(folder, "config.json"))) {
    throw new DamagedFileError(`evaluate.judgeModel ${folder} is no model folder: it has no config.json.`);
  }
  const shape = await readQwen2Config(files, folder);
  if ((shape.head === "score") !== (judge === "second")) {
    throw new DamagedFileError(
      judge === "second"
        ? `${folder} is a language model, which evaluate.judge local takes; second needs a reward model.`
        : `${folder} is a reward model, which evaluate.judge second takes; local needs a language model.`,
    );
  }
  requireTensors(await openCheckpoint(files, folder), expectedTensors(shape), ["score.bias"]);
  return { folder, digest: await folderDigest(files, folder) };
}
