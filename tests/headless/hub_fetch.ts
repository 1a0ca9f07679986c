/** Fetches one model or data set as the environment says, for tests that need a process of its own: `hub_fetch.ts model|dataset NAME`. */
import { failWith } from "../../headless/exit.ts";
import { fetchDataset, fetchModel } from "../../headless/hub.ts";

const [kind, name] = Deno.args;
const note = (text: string) => console.error(text);
const progress = {
  note,
  stage: () => ({ step: (n: number) => console.error(`at ${n}`), note, done() {} }),
};
try {
  console.log(JSON.stringify(await (kind === "model" ? fetchModel : fetchDataset)(name, { progress })));
} catch (error) {
  failWith(error);
}
