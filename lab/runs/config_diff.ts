/** Configurations side by side, as `run.json` has them: also those of other versions, whose fields differ from today's. */
import { isObject } from "../bytes.ts";
import { configField, configFields, presetConfig, valueAt } from "../config.ts";
import { formatValue } from "../config_fields.ts";

/** A field in several runs. */
export interface FieldRow {
  /** "ppo.klCoef" */
  path: string;
  /** One a run, as text; undefined where the run's record does not have it. */
  values: (string | undefined)[];
  /** The published recipe's; undefined of a field that is not in today's table. */
  published?: string;
  doc?: string;
  unit?: string;
  /** Where the default comes from. */
  from?: string;
  /** Whether not all runs have the same. */
  differs: boolean;
  /** Whether no result depends on it. */
  neutral: boolean;
}

/** Every field of today's table and of the runs' records, in the table's order, unknown ones last. */
export function fieldRows(configs: readonly unknown[]): FieldRow[] {
  const flat = configs.map((config) => flattened(config));
  const published = presetConfig("spark");
  const known = configFields.map(({ path }) => path);
  const others = flat.flatMap((values) => [...values.keys()]).filter((path) => !configField(path));
  return [...known, ...new Set(others)].map((path) => {
    const values = flat.map((fields) => fields.get(path));
    const field = configField(path)?.field;
    return {
      path,
      values,
      published: field && formatValue(valueAt(published, path)),
      doc: field?.doc,
      unit: field?.unit,
      from: field?.from,
      differs: new Set(values).size > 1,
      neutral: field?.neutral === true,
    };
  });
}

/** Fields by path, values as text. */
function flattened(config: unknown, at = ""): Map<string, string> {
  const fields = new Map<string, string>();
  if (!isObject(config)) return fields;
  for (const [name, value] of Object.entries(config)) {
    if (isObject(value)) {
      for (const [path, text] of flattened(value, `${at}${name}.`)) fields.set(path, text);
    } else fields.set(at + name, formatValue(value));
  }
  return fields;
}
