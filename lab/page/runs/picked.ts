/** Runs in folders of this computer that were picked or dropped. */

export interface PickedRun {
  /** What tells it from all other runs of the page. */
  key: string;
  name: string;
  /** All files that came with it, by path. */
  files: ReadonlyMap<string, File>;
  /** Where it lies among them. */
  folder: string;
  /** When it began, as its run.json says; empty where that cannot be read. */
  startedAt: string;
}

/**
 * The runs among files. One that is there already, by its name and its beginning, keeps its key: it takes the other's place. Another of the
 * same name is given a number.
 * @param have those that were picked before
 */
export async function pickedRuns(
  files: ReadonlyMap<string, File>,
  have: readonly PickedRun[],
): Promise<PickedRun[]> {
  const runs: PickedRun[] = [];
  const folders = [...files.keys()].filter((path) => /(^|\/)run\.json$/.test(path))
    .map((path) => path.replace(/\/?run\.json$/, "")).sort();
  for (const folder of folders) {
    const startedAt = await startOf(files.get(folder === "" ? "run.json" : `${folder}/run.json`)!);
    const plain = folder || "picked folder";
    let name = plain;
    const taken = () => [...have, ...runs].find((one) => one.name === name);
    for (let count = 2; taken() && taken()!.startedAt !== startedAt; count++) name = `${plain} (${count})`;
    runs.push({ key: `picked:${name}`, name, files, folder, startedAt });
  }
  return runs;
}

async function startOf(file: File): Promise<string> {
  try {
    return String(JSON.parse(await file.text()).startedAt ?? "");
  } catch {
    // What is wrong with it is told where the run is opened.
    return "";
  }
}
