/** What serialiseNotebook writes, for nbformat to look at: see tests/oracles/nbformat.ts. */
import { DamagedFileError } from "../../../lab/bytes.ts";
import { newNotebook, parseNotebook, serialiseNotebook } from "../../../lab/notebook/ipynb.ts";
import { feedDamaged } from "../damage.ts";
import { notebookOf, richNotebook } from "./notebooks.ts";

/** Texts by name: notebooks of our own, and all that became of damaged copies that were taken for sound. */
export async function writtenNotebooks(): Promise<Map<string, string>> {
  const written = new Map<string, string>();
  const sound = serialiseNotebook(richNotebook(11));
  written.set("sound", sound);
  written.set("empty", serialiseNotebook(newNotebook(0)));
  written.set("small", serialiseNotebook(notebookOf(["# Title", "1 + 1", ""])));
  for (let seed = 1; seed <= 200; seed++) written.set(`rich-${seed}`, serialiseNotebook(richNotebook(seed)));
  let round = 0;
  const collect = async (fed: string | Uint8Array<ArrayBuffer>, seed: number) =>
    void await feedDamaged(fed, (bytes) => {
      round++;
      try {
        written.set(`mended-${round}`, serialiseNotebook(parseNotebook("x.ipynb", bytes)));
      } catch (error) {
        if (!(error instanceof DamagedFileError)) throw error;
      }
      throw new DamagedFileError("x.ipynb was read.");
    }, { names: "x.ipynb", rounds: 400, seed });
  await collect(sound, 2);
  // As other tools write it: no spaces, so that damage hits values.
  await collect(JSON.stringify(JSON.parse(serialiseNotebook(richNotebook(26)))), 3);
  return written;
}
