/** How the lock of a notebook's imports is told in a terminal. */
import { formatBytes } from "../lab/format.ts";
import type { Locking } from "../lab/notebook/import_lock.ts";

/** A table of what is locked, what went, and what could not be locked. */
export function lockLines({ entries, dropped, failures }: Locking): string[] {
  const rows = entries.map(({ specifier, held, graph: { locked, modules, bytes } }) => [
    held ? "held" : "locked",
    specifier,
    String(modules.length),
    formatBytes(bytes),
    locked.integrity,
    locked.url,
  ]);
  const table = rows.length === 0 ? [] : [["", "specifier", "modules", "bytes", "integrity", "url"], ...rows];
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column].length)));
  const right = [2, 3];
  const lines = table.map((row) =>
    row.map((text, i) => right.includes(i) ? text.padStart(widths[i]) : text.padEnd(widths[i])).join("  ")
      .trimEnd()
  );
  return [
    ...lines,
    ...dropped.map((specifier) => `Taken out, since no cell imports it: ${specifier}`),
    ...failures.map((failure) => `error: ${failure}`),
    ...(rows.length + dropped.length + failures.length === 0
      ? ['No cell imports anything but "precis".']
      : []),
  ];
}
