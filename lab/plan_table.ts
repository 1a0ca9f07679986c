/** A run's plan, as it is kept in `plan.json` and shown in the terminal and the report. */
import type { PlanRow } from "../kernels/memory.ts";
import { duration, formatBytes, groupThousands, shortCount } from "./format.ts";
import type { StageName } from "./report/data.ts";

/** A stage as it is foreseen, or the judge of the evaluation where it is a model of its own. */
export interface StagePlan {
  name: StageName | "judge";
  /** Optimiser steps or updates; sequences in the evaluation, what a judge is asked. */
  steps: number;
  unit: string;
  /** Tokens that go through a model in any way. */
  tokens: number;
  /** Floating-point operations; 0 for what is computed elsewhere. */
  flops: number;
  /** Bytes on the device at their highest, and what they are; none for a judge behind an endpoint. */
  peakMemory: number;
  memory: PlanRow[];
  /** Where rates were measured. A judge behind an endpoint: at least, where its requests are limited. */
  seconds?: number;
}

/** The plan as lines of plain text, at most 80 columns wide. */
export function planTable(plans: readonly StagePlan[]): string[] {
  if (plans.length === 0) return [];
  const timed = plans.every(({ flops, seconds }) => flops === 0 || seconds !== undefined);
  const sum = (of: (plan: StagePlan) => number) => plans.reduce((total, plan) => total + of(plan), 0);
  const cells = (
    name: string,
    steps: string,
    tokens: number,
    flops: number,
    bytes: number,
    seconds?: number,
  ) => [
    name,
    steps,
    shortCount(tokens),
    flops > 0 ? flops.toExponential(1).replace("e+", "e") : "–",
    bytes > 0 ? formatBytes(bytes) : "–",
    ...(timed ? [seconds === undefined ? "–" : duration(seconds)] : []),
  ];
  return aligned([
    ["Plan", "steps", "tokens", "FLOPs", "peak memory", ...(timed ? ["time"] : [])],
    ...plans.map(({ name, steps, unit, tokens, flops, peakMemory, seconds }) =>
      cells(name, `${groupThousands(steps)} ${unit}`, tokens, flops, peakMemory, seconds)
    ),
    cells(
      "in all",
      "",
      sum(({ tokens }) => tokens),
      sum(({ flops }) => flops),
      Math.max(...plans.map(({ peakMemory }) => peakMemory)),
      sum(({ seconds }) => seconds ?? 0),
    ),
  ]);
}

/** Each stage's memory by what it is for, as lines of plain text, at most 80 columns wide. */
export function memoryTable(plans: readonly StagePlan[]): string[] {
  return plans.filter(({ memory }) => memory.length > 0).flatMap(({ name, peakMemory, memory }) => [
    "",
    `Memory of ${name}: ${formatBytes(peakMemory)} at the peak`,
    ...aligned(
      memoryByPurpose(memory).map(({ name, bytes, lifetime, count }) => [
        name,
        lifetime,
        `${count} ${count === 1 ? "buffer" : "buffers"}`,
        formatBytes(bytes),
      ]),
    ),
  ]);
}

/** Buffers that differ only in a number ("policy weights 0", "policy weights 1") as one row, the largest first. */
export function memoryByPurpose(memory: readonly PlanRow[]): PlanRow[] {
  const rows = new Map<string, PlanRow>();
  for (const { name, bytes, lifetime, count } of memory) {
    const purpose = lifetime === "pooled" ? "activations and scratch" : name.replace(/ [\d.,e+-]+$/, "");
    const row = rows.get(purpose) ?? { name: purpose, bytes: 0, lifetime, count: 0 };
    rows.set(purpose, { ...row, bytes: row.bytes + bytes, count: row.count + count });
  }
  return [...rows.values()].sort((a, b) => b.bytes - a.bytes);
}

/** Columns of text: the first to the left, the others to the right. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row.map((cell, column) => column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))
      .join("   ").trimEnd()
  );
}
