/** What is on show, as the query of the page's address: whoever opens it sees the same. */
import type { ScaleKind } from "../../inspect/colour.ts";
import type { Aggregate } from "../../inspect/types.ts";
import type { Post } from "../../query.ts";
import { rowMeasureLabels, type RowOrder } from "./ordering.ts";
import { aggregates, scaleKinds } from "./palette.ts";
import { type TensorViewState, usualTensorView } from "./tensor_view_state.ts";

export const panes = [
  { name: "tensor", key: "t", label: "Tensor" },
  { name: "attention", key: "a", label: "Attention" },
  { name: "lens", key: "l", label: "Logit lens" },
  { name: "tokens", key: "n", label: "Next tokens" },
  { name: "flow", key: "f", label: "Gradient flow" },
  { name: "kernels", key: "k", label: "Kernels" },
  { name: "compare", key: "c", label: "Two checkpoints" },
] as const;

export type Pane = typeof panes[number]["name"];

export const attentionScales = ["root", "linear", "log", "rank"] as const;

export type AttentionScale = typeof attentionScales[number];

/** The text that models are run on, as it is typed. */
export interface Prompt {
  kind: "summary" | "text";
  post: Post;
  summary: string;
  text: string;
}

export interface Address {
  model: string;
  pane: Pane;
  /** What follows the place or the capture in a tensor's id: `weights/embedding`; `run/layers.0.attn.qkv` of what was captured. */
  tensor: string;
  view: TensorViewState;
  /** Undefined: the text that ships with the demo. */
  prompt?: Prompt;
  /** Patterns of what is kept beside the usual. */
  keep: string[];
  /** Tokens that the model writes before it is captured. */
  write: number;
  layer: number;
  head: number;
  scale: AttentionScale;
  /** The first token is left out of attention maps. */
  sink: boolean;
  /** Token in the text that the views look at. */
  position?: number;
  /** The second model. */
  other: string;
}

export const usualAddress: Address = {
  model: "base",
  pane: "tensor",
  tensor: "weights/embedding",
  view: usualTensorView,
  keep: [],
  write: 0,
  layer: 0,
  head: 0,
  scale: "root",
  sink: false,
  other: "",
};

const pair = (text: string | null, separator: string): [number, number] | undefined => {
  const numbers = text?.split(separator).map(Number) ?? [];
  return numbers.length === 2 && numbers.every(Number.isFinite) ? [numbers[0], numbers[1]] : undefined;
};

const oneOf = <T extends string>(all: readonly T[], text: string | null, otherwise: T): T =>
  all.find((one) => one === text) ?? otherwise;

const whole = (text: string | null, otherwise: number): number =>
  text !== null && /^\d{1,9}$/.test(text) ? Number(text) : otherwise;

export function readAddress(query: string): Address {
  const search = new URLSearchParams(query);
  const [rows, columns] = [pair(search.get("rows"), "~"), pair(search.get("columns"), "~")];
  const only = pair(search.get("only"), "~");
  // Of the axis that is not named, all.
  const all = [0, Infinity];
  const [[row0, row1], [column0, column1]] = [rows ?? all, columns ?? all];
  const rect = rows || columns ? { row0, row1, column0, column1 } : undefined;
  const fixed = Number(search.get("high"));
  const position = whole(search.get("position"), -1);
  return {
    model: search.get("model") || usualAddress.model,
    pane: oneOf(panes.map(({ name }) => name), search.get("pane"), usualAddress.pane),
    tensor: search.get("tensor") || usualAddress.tensor,
    view: {
      rect,
      aggregate: oneOf<Aggregate>(
        aggregates.map(({ name }) => name),
        search.get("cells"),
        usualTensorView.aggregate,
      ),
      scale: oneOf<ScaleKind>(
        scaleKinds.map(({ kind }) => kind),
        search.get("colours"),
        usualTensorView.scale,
      ),
      fixed: fixed > 0 && Number.isFinite(fixed) ? fixed : undefined,
      only: only && { low: only[0], high: only[1] },
      order: readOrder(search.get("order")),
      pins: (search.get("pins") ?? "").split("~").map((pin) => pair(pin, ".")).filter((pin) =>
        pin !== undefined
      )
        .slice(0, 2).map(([row, column]) => ({ row, column })),
    },
    prompt: readPrompt(search),
    keep: search.get("keep")?.split(" ").filter(Boolean) ?? [],
    write: whole(search.get("write"), 0),
    layer: whole(search.get("layer"), 0),
    head: whole(search.get("head"), 0),
    scale: oneOf(attentionScales, search.get("scale"), usualAddress.scale),
    sink: search.get("sink") === "hidden",
    position: position < 0 ? undefined : position,
    other: search.get("other") ?? "",
  };
}

/** `rms`, or `rms.rising`. */
function readOrder(text: string | null): RowOrder | undefined {
  const [name, direction] = text?.split(".") ?? [];
  const found = rowMeasureLabels.find(({ by }) => by === name);
  return found && { by: found.by, rising: direction === "rising" };
}

function readPrompt(search: URLSearchParams): Prompt | undefined {
  const get = (name: string) => search.get(name) ?? "";
  const post = { subreddit: get("subreddit"), title: get("title"), post: get("post") };
  if (search.has("text")) return { kind: "text", text: get("text"), post, summary: "" };
  if (search.has("post")) return { kind: "summary", text: "", post, summary: get("summary") };
  return undefined;
}

/** The query for an address, "?" and all; what is as usual is left out. */
export function writeAddress(address: Address): string {
  const search = new URLSearchParams();
  const put = (name: string, value: string | number | undefined, usual: string | number | undefined) => {
    if (value !== undefined && value !== usual) search.set(name, String(value));
  };
  const short = (value: number) => String(Number(value.toFixed(3)));
  const { view, prompt } = address;
  put("model", address.model, usualAddress.model);
  put("pane", address.pane, usualAddress.pane);
  put("tensor", address.tensor, usualAddress.tensor);
  const range = (name: string, from: number, to: number) => {
    if (Number.isFinite(to)) search.set(name, `${short(from)}~${short(to)}`);
  };
  if (view.rect) {
    range("rows", view.rect.row0, view.rect.row1);
    range("columns", view.rect.column0, view.rect.column1);
  }
  put("cells", view.aggregate, usualTensorView.aggregate);
  put("colours", view.scale, usualTensorView.scale);
  put("high", view.fixed, undefined);
  if (view.only) search.set("only", `${view.only.low}~${view.only.high}`);
  if (view.order) search.set("order", view.order.by + (view.order.rising ? ".rising" : ""));
  if (view.pins.length > 0) {
    search.set("pins", view.pins.map(({ row, column }) => `${row}.${column}`).join("~"));
  }
  if (prompt?.kind === "text") search.set("text", prompt.text);
  if (prompt?.kind === "summary") {
    put("subreddit", prompt.post.subreddit, "");
    put("title", prompt.post.title, "");
    search.set("post", prompt.post.post);
    put("summary", prompt.summary, "");
  }
  put("keep", address.keep.join(" "), "");
  put("write", address.write, 0);
  put("layer", address.layer, 0);
  put("head", address.head, 0);
  put("scale", address.scale, usualAddress.scale);
  put("sink", address.sink ? "hidden" : "", "");
  put("position", address.position, undefined);
  put("other", address.other, "");
  const query = search.toString();
  return query ? `?${query}` : "";
}
