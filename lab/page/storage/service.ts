/** What the page keeps on this device, and how to be rid of it. */
import { type Files, joinPath } from "../../bytes.ts";
import { type KeptFile, listKept, weightsFolder } from "./kept_weights.ts";

/** Where models that were made in the page lie; their places begin so, too: "kept/NAME". */
export const keptFolder = "kept";

export interface Storage {
  /** Bytes that this page's storage takes and may take; unknown in some browsers. */
  usage?: number;
  quota?: number;
  /** Whether the browser has promised not to clear it by itself. */
  persisted: boolean;
  weights: KeptFile[];
  models: { name: string; bytes: number }[];
}

export function storageService(files: Files, storage: StorageManager) {
  return {
    async look(): Promise<Storage> {
      const { usage, quota } = await storage.estimate();
      const models = [];
      if (await files.exists(keptFolder)) {
        for (const name of await files.list(keptFolder)) {
          if (name.startsWith(".")) continue;
          const folder = joinPath(keptFolder, name);
          let bytes = 0;
          for (const file of await files.list(folder)) bytes += await files.size(joinPath(folder, file));
          models.push({ name: name.replace(/\/$/, ""), bytes });
        }
      }
      return { usage, quota, persisted: await storage.persisted(), weights: await listKept(files), models };
    },

    /** Forgets the kept weights of one folder, or of all. */
    forgetWeights: (folder = weightsFolder): Promise<void> => {
      if (folder !== weightsFolder && !/^weights\/[0-9a-f]{32}$/.test(folder)) {
        throw new RangeError(`${folder} holds no kept weights.`);
      }
      return files.remove(folder);
    },

    /** Removes a model that was made in the page. */
    forgetModel: (name: string): Promise<void> => {
      if (!/^[\w-][\w.-]*$/.test(name)) throw new RangeError(`There is no kept model of this name: ${name}`);
      return files.remove(joinPath(keptFolder, name));
    },
  };
}
