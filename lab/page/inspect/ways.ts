/** What a model's list of tensors could have besides, and how to get it: an optimiser's state, gradients, keys and values. */
import type { TensorEntry, TensorRole } from "../../inspect/types.ts";
import type { Checkpoint } from "./places.ts";

export interface Way {
  title: string;
  says: string;
  acts: { label: string; act: () => void }[];
}

/** What there is, and what may be done about it. */
export interface Ground {
  entries: readonly TensorEntry[];
  /** Of the model's run, the newest first. */
  checkpoints: readonly Checkpoint[];
  /** Whether a text can be run through it. */
  runs: boolean;
  /** Whether it says what comes next, rather than giving a score. */
  speaks: boolean;
  open(place: string): void;
  /** Runs the text and keeps what matches besides, then shows the first tensor of a role. */
  keep(patterns: readonly string[], role: TensorRole, write?: number): void;
}

/** Tokens that a model is let write where somebody wants to see what that leaves. */
const written = 24;

/** Checkpoints that are named. */
const named = 4;

/** A way to each kind of tensor that the list does not have. */
export function waysTo({ entries, checkpoints, runs, speaks, open, keep }: Ground): Way[] {
  const has = (role: TensorRole) => entries.some((entry) => entry.role === role);
  const ways: (Way & { role: TensorRole })[] = [
    {
      role: "first moment",
      title: "First and second moments",
      says: checkpoints.length > 0
        ? "AdamW’s state lies in the checkpoints of this run:"
        : "AdamW’s state lies in the checkpoints of a run, and beside models that a notebook keeps with their moments: " +
          "open runs/…/checkpoints/sft/step-…/policy above.",
      acts: checkpoints.slice(0, named).map(({ place, label }) => ({ label, act: () => open(place) })),
    },
    {
      role: "weight gradient",
      title: "Gradients of weights",
      says: "Of the loss over the text:",
      acts: [{
        label: "Run it backward",
        act: () => keep(["gradients", "weights.*.grad"], "weight gradient"),
      }],
    },
    {
      role: "activation gradient",
      title: "Gradients of activations",
      says: "Of the loss over the text:",
      acts: [{ label: "Run it backward", act: () => keep(["gradients", "*.grad"], "activation gradient") }],
    },
    {
      role: "cache",
      title: "Keys and values",
      says: speaks ? "Of a generation, or of the text:" : "Of the text:",
      acts: [
        ...speaks ? [{ label: `Write ${written} tokens`, act: () => keep(["cache"], "cache", written) }] : [],
        { label: "Run the text", act: () => keep(["cache"], "cache", 0) },
      ],
    },
  ];
  return ways.filter(({ role }) => !has(role) && (runs || role === "first moment"));
}
