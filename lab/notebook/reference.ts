/**
 * What cells can call, for completion and help in the editor. Made by deno task notebook-reference from the docstrings of lab.ts,
 * lab_ops.ts, handles.ts and training.ts; a test sees to it that it is up to date.
 */
export interface ReferenceEntry {
  /** What it is a member of: "lab", "lab.ops", or the kind of a handle: "Model", "Tensor", "Trainer" … */
  of: string;
  name: string;
  kind: "method" | "property";
  /** With its types. */
  signature: string;
  doc: string;
}

export const reference: readonly ReferenceEntry[] = [
  {
    "of": "lab",
    "name": "ops",
    "kind": "property",
    "signature": "ops: Ops",
    "doc": "Our kernels as operations on tensors.",
  },
  {
    "of": "lab",
    "name": "facts",
    "kind": "method",
    "signature": "facts(): Promise<LabFacts>",
    "doc":
      "The adapter, whose WebGPU it is, its features, the digest of all kernels, versions and the notebook's seed.",
  },
  {
    "of": "lab",
    "name": "model",
    "kind": "method",
    "signature": "model(place: string, onBytes?: (bytes: number) => void): Promise<Model>",
    "doc":
      'Opens a model: "base", "sft", "reward" or "ppo" of the demo, a run\'s such as "runs/demo/models/ppo", or the address of a model folder.',
  },
  {
    "of": "lab",
    "name": "encode",
    "kind": "method",
    "signature": "encode(text: string, place?: string): Promise<number[]>",
    "doc": 'The token ids of a text, by a model\'s tokenizer; that of "base" if none is named.',
  },
  {
    "of": "lab",
    "name": "decode",
    "kind": "method",
    "signature": "decode(ids: number[] | Uint32Array, place?: string): Promise<string>",
    "doc": 'The text of token ids, by a model\'s tokenizer; that of "base" if none is named.',
  },
  {
    "of": "lab",
    "name": "tokens",
    "kind": "method",
    "signature": "tokens(ids: number[] | Uint32Array, place?: string): Promise<string[]>",
    "doc": "The text that each single id stands for.",
  },
  {
    "of": "lab",
    "name": "posts",
    "kind": "method",
    "signature":
      'posts(split: "train" | "validation" | "test", options: { from?: number; count?: number } = {}): Promise<DemoPost[]>',
    "doc":
      "Posts of the demo's data with their human summaries and facts: rows `from` to `from + count` (10) of a split.",
  },
  {
    "of": "lab",
    "name": "pairs",
    "kind": "method",
    "signature":
      'pairs(split: "train" | "valid1" | "valid2", options: { from?: number; count?: number } = {}): Promise<Comparison[]>',
    "doc":
      "Comparisons of the demo's data: which of two summaries was preferred; rows `from` to `from + count` (10) of a split.",
  },
  {
    "of": "lab",
    "name": "read",
    "kind": "method",
    "signature":
      'read<As extends keyof ReadAs = "json">(path: string, options: { as?: As } = {}): Promise<ReadAs[As]>',
    "doc":
      'A file that ships with the notebooks, by its path below their folder: as "json" (by default), "text" or "bytes".',
  },
  {
    "of": "lab",
    "name": "fetch",
    "kind": "method",
    "signature":
      'fetch<As extends keyof ReadAs = "json">(address: string, options: { as?: As } = {}): Promise<ReadAs[As]>',
    "doc": 'Fetches an address, if whoever runs the notebook has granted its host ("network:example.org").',
  },
  {
    "of": "lab",
    "name": "tensor",
    "kind": "method",
    "signature":
      "tensor(values: number | number[] | number[][] | number[][][] | ArrayLike<number>, shape?: number[] | null, options: { name?: string } = {}): Promise<Tensor>",
    "doc":
      "Puts numbers on the device: nested lists, or a typed array with a shape. A Uint32Array becomes u32, all else f32.",
  },
  {
    "of": "lab",
    "name": "kernel",
    "kind": "method",
    "signature": "kernel(definition: KernelDefinition): Promise<Record<string, Tensor>>",
    "doc":
      "Runs WGSL of one's own on tensors and returns its outputs by name; with a `gradient`, operations on them can be differentiated.",
  },
  {
    "of": "lab",
    "name": "differentiate",
    "kind": "method",
    "signature":
      "differentiate<Of extends Tensor | Tensor[] | Record<string, Tensor>>(loss: Tensor, of: Of): Promise<Of>",
    "doc":
      "Gradients of a loss, one number, with respect to tensors that it was computed from: one, a list or a record, and as such returned.",
  },
  {
    "of": "lab",
    "name": "memory",
    "kind": "method",
    "signature": "memory(): Promise<{ cell: string; kind: string; name: string; bytes: number }[]>",
    "doc": "What the notebook's tensors hold on the device: cell, kind, name and bytes of each.",
  },
  {
    "of": "lab",
    "name": "trainer",
    "kind": "method",
    "signature": 'trainer(stage: "sft" | "reward" | "ppo", options: TrainerOptions = {}): Promise<Trainer>',
    "doc":
      'A training stage, a step at a time, on the demo\'s data: "sft" from `base`, "reward" from the fine-tuned `base`, "ppo" from `policy` against `reward`. Other options are fields of its configuration: { learningRate, batch, klCoef, … }; `steps` sets the schedule.',
  },
  {
    "of": "lab",
    "name": "microscope",
    "kind": "method",
    "signature": "microscope(options: MicroscopeOptions = {}): Promise<Microscope>",
    "doc":
      "One PPO update on a few episodes, every number of it shown; options are its networks, `posts`, and fields such as klCoef or lambda.",
  },
  {
    "of": "lab",
    "name": "trace",
    "kind": "method",
    "signature": "trace(derivation: Derivation, at: Place): Promise<Trace>",
    "doc":
      "Where a number of a microscope's derivation comes from: formula, source, the formula with numbers, and the place of each of these.",
  },
  {
    "of": "lab",
    "name": "quantities",
    "kind": "method",
    "signature":
      "quantities(): Promise< { name: Quantity; title: string; symbol: string; formula: string; source: string }[] >",
    "doc": "What can be traced: names, symbols, formulas, sources.",
  },
  {
    "of": "lab",
    "name": "gold",
    "kind": "method",
    "signature": "gold(post: DemoPost | Post, summary: string): Promise<GoldDetail>",
    "doc":
      "How good a summary of a demo post is by the demo's own rule, which no model sees: score and reasons.",
  },
  {
    "of": "lab",
    "name": "show",
    "kind": "method",
    "signature": "show(value: unknown, options: { caption?: string } = {}): Promise<void>",
    "doc":
      "Shows a value: a text, a tensor as a picture with its statistics, anything else as a console would.",
  },
  {
    "of": "lab",
    "name": "markdown",
    "kind": "method",
    "signature": "markdown(text: string): Promise<void>",
    "doc": "Shows a text as Markdown.",
  },
  {
    "of": "lab",
    "name": "table",
    "kind": "method",
    "signature":
      "table(rows: readonly Record<string, unknown>[], options: { columns?: string[]; caption?: string } = {}): Promise<void>",
    "doc": "Shows rows as a table; its columns are the fields, or those that are named.",
  },
  {
    "of": "lab",
    "name": "chart",
    "kind": "method",
    "signature":
      "chart(series: readonly { name: string; x?: ArrayLike<number>; y: ArrayLike<number | null>; colour?: 1 | 2 | 3 | 4; points?: boolean; }[], options: { title?: string; xName?: string; unit?: string; caption?: string; tolerance?: Partial<Tolerance>; } = {}): Promise<void>",
    "doc":
      "Shows curves: { name, x, y } each, x counted from 0 if left out; `y` is null where there is no value. `tolerance` is that of their proofs: training drifts apart from one adapter to another.",
  },
  {
    "of": "lab",
    "name": "strip",
    "kind": "method",
    "signature": "strip(tokens: readonly StripToken[], options: { caption?: string } = {}): Promise<void>",
    "doc": "Shows tokens in a row with numbers under each: { text, id, values: { logprob, kl, reward, … } }.",
  },
  {
    "of": "lab",
    "name": "post",
    "kind": "method",
    "signature":
      "post(post: Post & { summary?: string }, options: DrawingOptions & { models?: (Model | string)[]; caption?: string } = {}): Promise<{ model: string; text: string }[]>",
    "doc": "Shows a post, and the summary that each of the models writes of it, as it is written.",
  },
  {
    "of": "lab",
    "name": "knobs",
    "kind": "method",
    "signature":
      'knobs<K extends Record<string, Knob>>(knobs: K): { [Name in keyof K]: Widened<K[Name]["value"]> }',
    "doc":
      "Knobs that the reader turns, { beta: { value, min, max, step } }: their current values, those given where nobody turns any.",
  },
  {
    "of": "lab",
    "name": "progress",
    "kind": "method",
    "signature": 'progress(done: number, total: number, note = ""): void',
    "doc": "Tells the reader how far the cell is.",
  },
  {
    "of": "lab",
    "name": "expect",
    "kind": "method",
    "signature":
      "expect(name: string, found: unknown, expected: unknown, expectation: Expectation = {}): Promise<boolean>",
    "doc":
      "Expects a value, within a tolerance if one is given, and shows whether it is so. What fails here fails verification, not the cell.",
  },
  {
    "of": "lab",
    "name": "record",
    "kind": "method",
    "signature":
      "record(name: string, value: unknown, options: { tier?: Tier; tolerance?: Partial<Tolerance>; margins?: number[] } = {}): Promise<void>",
    "doc":
      "Keeps a proof of a value in the notebook, for whoever runs it again. Tier A: the same everywhere; B, the default for what was computed: the same bits on the same stack, within the tolerance elsewhere; C: within the tolerance. Lists and records of numbers that are given a tolerance count as computed, all else that is no tensor and no number is of tier A. Of token ids that were chosen greedily, `margins` are how far each one's logit was above the second best, as the tokens of `summarise` have it: where another adapter chooses otherwise, it is told how near a choice that was.",
  },
  {
    "of": "lab",
    "name": "random",
    "kind": "method",
    "signature": 'random(stream = ""): number',
    "doc":
      "The next random number in [0, 1): the cell's own stream, the same at every run, whatever other cells draw.",
  },
  {
    "of": "lab.ops",
    "name": "matmul",
    "kind": "method",
    "signature":
      "matmul(x: Tensor, weight: Tensor, options: { bias?: Tensor; residual?: Tensor } = {}): Promise<Tensor>",
    "doc": "x·weightᵀ + bias + residual: x [M, K], weight [N, K], bias [N], residual [M, N] → [M, N].",
  },
  {
    "of": "lab.ops",
    "name": "rmsnorm",
    "kind": "method",
    "signature": "rmsnorm(x: Tensor, weight: Tensor, options: { eps?: number } = {}): Promise<Tensor>",
    "doc":
      "Each row of x [T, D] over its root mean square, times weight [D]. `eps` is added to the mean square, 1e-6 by default.",
  },
  {
    "of": "lab.ops",
    "name": "swiglu",
    "kind": "method",
    "signature": "swiglu(gateUp: Tensor): Promise<Tensor>",
    "doc": "silu(gate)·up of gateUp [T, 2F], gate in the first F columns → [T, F].",
  },
  {
    "of": "lab.ops",
    "name": "add",
    "kind": "method",
    "signature": "add(a: Tensor, b: Tensor): Promise<Tensor>",
    "doc": "a + b, element by element, for equal shapes.",
  },
  {
    "of": "lab.ops",
    "name": "subtract",
    "kind": "method",
    "signature": "subtract(a: Tensor, b: Tensor): Promise<Tensor>",
    "doc": "a − b, element by element, for equal shapes.",
  },
  {
    "of": "lab.ops",
    "name": "weightedSum",
    "kind": "method",
    "signature": "weightedSum(a: Tensor, wa: number, b: Tensor, wb: number): Promise<Tensor>",
    "doc": "wa·a + wb·b, for equal shapes: adds up losses.",
  },
  {
    "of": "lab.ops",
    "name": "scale",
    "kind": "method",
    "signature": "scale(x: Tensor, factor: number): Promise<Tensor>",
    "doc": "factor·x, element by element.",
  },
  {
    "of": "lab.ops",
    "name": "sum",
    "kind": "method",
    "signature": "sum(x: Tensor): Promise<Tensor>",
    "doc": "The sum of all elements → [1].",
  },
  {
    "of": "lab.ops",
    "name": "mean",
    "kind": "method",
    "signature": "mean(x: Tensor): Promise<Tensor>",
    "doc": "The mean of all elements → [1].",
  },
  {
    "of": "lab.ops",
    "name": "rope",
    "kind": "method",
    "signature":
      "rope(qkv: Tensor, options: { queryHeads: number; keyValueHeads: number; headDim: number; theta?: number; lengths?: number[]; }): Promise<Tensor>",
    "doc":
      "Rotary position embedding of the queries and keys in qkv [T, (Hq + 2·Hkv)·headDim]; `lengths` of the sequences, one by default.",
  },
  {
    "of": "lab.ops",
    "name": "attention",
    "kind": "method",
    "signature":
      "attention(qkv: Tensor, options: { queryHeads: number; keyValueHeads: number; headDim: number; lengths?: number[] }): Promise<Tensor>",
    "doc":
      "Causal grouped-query attention over qkv [T, (Hq + 2·Hkv)·headDim] → [T, Hq·headDim]; `lengths` of the sequences, one by default.",
  },
  {
    "of": "lab.ops",
    "name": "gatherRows",
    "kind": "method",
    "signature": "gatherRows(x: Tensor, rows: number[]): Promise<Tensor>",
    "doc": "Rows of x [T, D], by number and in order → [R, D].",
  },
  {
    "of": "lab.ops",
    "name": "scalarHead",
    "kind": "method",
    "signature": "scalarHead(hidden: Tensor, weight: Tensor, bias: Tensor): Promise<Tensor>",
    "doc": "hidden·weight + bias: hidden [R, D], weight [D] or [1, D], bias [1] → [R], one score a row.",
  },
  {
    "of": "lab.ops",
    "name": "logprobs",
    "kind": "method",
    "signature":
      "logprobs(hidden: Tensor, head: Tensor, targets: Tensor, options: { temperature?: number } = {}): Promise<{ logprob: Tensor; logSumExp: Tensor; entropy: Tensor }>",
    "doc":
      "log-softmax(hidden·headᵀ/temperature) at one target a row: hidden [R, D], head [V, D], targets u32 [R] → three times [R], nats.",
  },
  {
    "of": "lab.ops",
    "name": "crossEntropy",
    "kind": "method",
    "signature":
      "crossEntropy(hidden: Tensor, head: Tensor, targets: Tensor, options: { temperature?: number } = {}): Promise<Tensor>",
    "doc": "The mean of −logprob over the rows → [1]; as logprobs.",
  },
  {
    "of": "lab.ops",
    "name": "pairwiseLoss",
    "kind": "method",
    "signature":
      "pairwiseLoss(chosen: Tensor, rejected: Tensor, options: { margin?: number } = {}): Promise<{ loss: Tensor; accuracy: Tensor; margins: Tensor }>",
    "doc":
      "The reward model's loss, the mean of −log σ(chosen − rejected − margin): scores [P] each → loss [1], accuracy [1], margins [P].",
  },
  {
    "of": "lab.ops",
    "name": "firstEos",
    "kind": "method",
    "signature": "firstEos(tokens: Tensor, eos: number): Promise<{ last: Tensor; hasEos: Tensor }>",
    "doc":
      "Where each row of tokens u32 [B, T] ends: last u32 [B], the place of EOS or T − 1, and hasEos u32 [B]. No gradient.",
  },
  {
    "of": "lab.ops",
    "name": "klReward",
    "kind": "method",
    "signature":
      'klReward(rollout: { logprob: Tensor; reference: Tensor; last: Tensor; hasEos: Tensor; scores: Tensor }, options: { beta: number; estimator?: 1 | 2 | 3; scoreSlot?: "after" | "last"; missingEos?: "replace" | "subtract" | "none"; missingEosValue?: number; }): Promise<{ reward: Tensor; penalty: Tensor }>',
    "doc":
      "PPO's rewards: −beta·KL at every token, and the score at one. logprob and reference [B, T], last and hasEos from firstEos, scores [B] → reward and penalty [B, T]. No gradient.",
  },
  {
    "of": "lab.ops",
    "name": "gae",
    "kind": "method",
    "signature":
      "gae(reward: Tensor, values: Tensor, options: { gamma?: number; lambda?: number } = {}): Promise<{ advantages: Tensor; returns: Tensor }>",
    "doc":
      "Generalised advantage estimation: reward [B, T], values [B, T], or [B, T + 1] to bootstrap → advantages and returns [B, T]. No gradient.",
  },
  {
    "of": "lab.ops",
    "name": "whiten",
    "kind": "method",
    "signature":
      "whiten(x: Tensor, last: Tensor, options: { shiftMean?: boolean; unbiased?: boolean; eps?: number } = {}): Promise<{ whitened: Tensor; moments: Tensor }>",
    "doc":
      "x [B, T] over its standard deviation, less its mean, over the slots up to last u32 [B]; moments are count, mean, variance. No gradient.",
  },
  {
    "of": "lab.ops",
    "name": "ppoPolicyLoss",
    "kind": "method",
    "signature":
      "ppoPolicyLoss(inputs: { logprob: Tensor; oldLogprob: Tensor; advantages: Tensor; slots?: Tensor }, options: { clipRange?: number; dualClip?: number; denominator?: number } = {}): Promise<{ loss: Tensor; sums: Tensor }>",
    "doc":
      "PPO's clipped policy loss over rows: logprob [R] (differentiated), oldLogprob and advantages [B, T], slots u32 [R], b·T + t of each row, all in order by default → loss [1], and sums [10]: loss, tokens, KL by three estimators, clipped, dual-clipped, ratio − 1, its square, its maximum.",
  },
  {
    "of": "lab.ops",
    "name": "ppoValueLoss",
    "kind": "method",
    "signature":
      "ppoValueLoss(inputs: { value: Tensor; oldValues: Tensor; returns: Tensor; slots?: Tensor }, options: { clipRange?: number | null; denominator?: number } = {}): Promise<{ loss: Tensor; sums: Tensor }>",
    "doc":
      "The critic's clipped squared error: value [R] (differentiated), oldValues and returns [B, T], slots as in ppoPolicyLoss → loss [1], sums [8].",
  },
  {
    "of": "Model",
    "name": "place",
    "kind": "property",
    "signature": "place: string",
    "doc": "Where it came from.",
  },
  {
    "of": "Model",
    "name": "config",
    "kind": "property",
    "signature": "config: Qwen2Config",
    "doc": "Layers, widths, heads, vocabulary, positions: as in its config.json.",
  },
  {
    "of": "Model",
    "name": "parameters",
    "kind": "property",
    "signature": "parameters: number",
    "doc": "Numbers in its weights.",
  },
  {
    "of": "Model",
    "name": "reward",
    "kind": "property",
    "signature": "reward: boolean",
    "doc": "Whether it scores summaries instead of writing them.",
  },
  {
    "of": "Model",
    "name": "digest",
    "kind": "method",
    "signature": "digest(): Promise<string>",
    "doc": "SHA-256 of its weights' file.",
  },
  {
    "of": "Model",
    "name": "tensors",
    "kind": "method",
    "signature": "tensors(pattern?: string): Promise<{ name: string; shape: number[] }[]>",
    "doc":
      'Names and shapes of its weights, or of those whose names match a pattern such as "model.layers.0.*".',
  },
  {
    "of": "Model",
    "name": "tensor",
    "kind": "method",
    "signature": "tensor(name: string): Promise<Tensor>",
    "doc": 'A weight by its published name, such as "model.layers.0.mlp.down_proj.weight".',
  },
  {
    "of": "Model",
    "name": "summarise",
    "kind": "method",
    "signature":
      "summarise(post: Post, options: DrawingOptions = {}, onToken?: (token: ShownToken) => void): Promise<Written>",
    "doc":
      "Writes a summary of a post; `onToken` hears each token, with its text, logprob and entropy, as soon as it is drawn.",
  },
  {
    "of": "Model",
    "name": "rate",
    "kind": "method",
    "signature": "rate(post: Post, summary: string): Promise<Written>",
    "doc":
      "What the model makes of somebody else's summary: the logprob and the entropy at each of its tokens, nats.",
  },
  {
    "of": "Model",
    "name": "score",
    "kind": "method",
    "signature": "score(post: Post, summary: string): Promise<{ score: number; tokens: ShownScore[] }>",
    "doc":
      "A reward model's score of a summary, and what the score would be if the summary ended at each of its tokens.",
  },
  {
    "of": "Model",
    "name": "xray",
    "kind": "method",
    "signature":
      "xray(post: Post, summary: string, onProgress?: (done: number, of: number) => void): Promise<Xray>",
    "doc":
      "A reward model's score of a summary with each token left out, and of each beginning of it as if it ended there.",
  },
  {
    "of": "Model",
    "name": "scoreIds",
    "kind": "method",
    "signature": "scoreIds(sequences: number[][]): Promise<number[]>",
    "doc": "A reward model's score of each sequence of ids, at its last id.",
  },
  {
    "of": "Model",
    "name": "logprobs",
    "kind": "method",
    "signature": "logprobs(ids: number[]): Promise<RatedToken[]>",
    "doc": "What the model makes of each id, from the second on: logprob and entropy, nats.",
  },
  {
    "of": "Model",
    "name": "generate",
    "kind": "method",
    "signature":
      "generate(ids: number[], options: DrawingOptions & { count?: number } = {}): Promise<number[]>",
    "doc": "Goes on from ids, exactly `count` tokens, 32 by default; returns the new ids.",
  },
  {
    "of": "Model",
    "name": "capture",
    "kind": "method",
    "signature":
      "capture(input: number[] | string, patterns: string | string[], options: { gradients?: boolean } = {}): Promise<Record<string, Tensor>>",
    "doc":
      'What passes through the model while it reads ids or a text, by name: patterns such as "layers.*.attn.out", "layers.0.*", "hidden". With `gradients`, also that of the mean cross-entropy (of the score, for a reward model) with respect to each, as "….grad", and with respect to weights, as "weights.….grad" where a pattern begins so.',
  },
  {
    "of": "Model",
    "name": "keep",
    "kind": "method",
    "signature": "keep(name: string, options: { moments?: boolean } = {}): Promise<string>",
    "doc":
      "Keeps it on this device under a name, in place of an earlier one; opens again with lab.model(\"kept/NAME\"), the place that it gives. Of a trainer's model, `moments` keeps AdamW's first and second moments beside it: the inspector shows them at that place.",
  },
  {
    "of": "Tensor",
    "name": "shape",
    "kind": "property",
    "signature": "shape: readonly number[]",
    "doc": "Extents, slowest first.",
  },
  {
    "of": "Tensor",
    "name": "size",
    "kind": "property",
    "signature": "size: number",
    "doc": "Elements.",
  },
  {
    "of": "Tensor",
    "name": "values",
    "kind": "method",
    "signature": "values(from?: number, to?: number): Promise<Float32Array | Uint32Array>",
    "doc":
      "Its numbers, or elements `from` to `to` of them: a Float32Array, or a Uint32Array for u32. At most 16 Mi numbers a call.",
  },
  {
    "of": "Tensor",
    "name": "item",
    "kind": "method",
    "signature": "item(): Promise<number>",
    "doc": "The only number of a tensor that has one.",
  },
  {
    "of": "Tensor",
    "name": "at",
    "kind": "method",
    "signature": "at(...indices: number[]): Promise<number>",
    "doc": "The element at these indices, one for each extent: at(3, 17).",
  },
  {
    "of": "Tensor",
    "name": "stats",
    "kind": "method",
    "signature": "stats(): Promise<TensorStatistics>",
    "doc": "Count, NaNs, infinities, zeros, min, max, mean, rms and absmax, summed in f64 in order.",
  },
  {
    "of": "Tensor",
    "name": "digest",
    "kind": "method",
    "signature": "digest(): Promise<string>",
    "doc": "SHA-256 of its bytes, little-endian.",
  },
  {
    "of": "Tensor",
    "name": "view",
    "kind": "method",
    "signature": "view(): Promise<TensorView>",
    "doc":
      "What a picture of it is drawn from: the extreme of each of at most 96 × 96 cells, and the statistics.",
  },
  {
    "of": "Trainer",
    "name": "steps",
    "kind": "property",
    "signature": "steps: number",
    "doc": "Steps of its schedule.",
  },
  {
    "of": "Trainer",
    "name": "settings",
    "kind": "property",
    "signature": "settings: Record<string, unknown>",
    "doc": "Its stage's configuration.",
  },
  {
    "of": "Trainer",
    "name": "done",
    "kind": "method",
    "signature": "done(): Promise<number>",
    "doc": "Steps that have been taken.",
  },
  {
    "of": "Trainer",
    "name": "step",
    "kind": "method",
    "signature": "step(): Promise<MetricRecord>",
    "doc": "Takes a step (ppo: an update); its figures, by the names of metrics.jsonl.",
  },
  {
    "of": "Trainer",
    "name": "run",
    "kind": "method",
    "signature": "run(count: number, onStep?: (record: MetricRecord) => void): Promise<MetricRecord[]>",
    "doc": "Takes up to so many steps; `onStep` hears the figures of each as soon as it is done.",
  },
  {
    "of": "Trainer",
    "name": "evaluate",
    "kind": "method",
    "signature": "evaluate(): Promise<MetricRecord>",
    "doc": "Of sft: loss and ROUGE on validation posts. Of reward: accuracy on held-out pairs.",
  },
  {
    "of": "Trainer",
    "name": "sample",
    "kind": "method",
    "signature": "sample(count: number, options: { temperature?: number } = {}): Promise<RewardedSample[]>",
    "doc":
      "Of sft and ppo: summaries of the first validation posts by the model as it is now, near-greedy; ppo's with reward and gold score.",
  },
  {
    "of": "Trainer",
    "name": "samplePairs",
    "kind": "method",
    "signature": "samplePairs(count: number): Promise<ScoredComparison[]>",
    "doc": "Of reward: the first held-out pairs with their scores.",
  },
  {
    "of": "Trainer",
    "name": "normalise",
    "kind": "method",
    "signature": "normalise(): Promise<number>",
    "doc": "Of reward: sets the offset so that references average 0; returns it.",
  },
  {
    "of": "Trainer",
    "name": "episodes",
    "kind": "method",
    "signature": "episodes(count?: number): Promise<Episode[]>",
    "doc": "Of ppo: the last update's first episodes, token by token.",
  },
  {
    "of": "Trainer",
    "name": "invariants",
    "kind": "method",
    "signature": "invariants(): Promise<Invariant[]>",
    "doc": "Of ppo: what must hold in the first update, as it was found.",
  },
  {
    "of": "Trainer",
    "name": "beta",
    "kind": "method",
    "signature": "beta(): Promise<number>",
    "doc": "Of ppo: β of the next update.",
  },
  {
    "of": "Trainer",
    "name": "model",
    "kind": "method",
    "signature": "model(): Promise<Model>",
    "doc": "The model as it is now and becomes; it lives as long as the trainer.",
  },
  {
    "of": "Microscope",
    "name": "slots",
    "kind": "property",
    "signature": "slots: number",
    "doc": "Slots of a response.",
  },
  {
    "of": "Microscope",
    "name": "knobs",
    "kind": "property",
    "signature": "knobs: Knobs",
    "doc": "As configured.",
  },
  {
    "of": "Microscope",
    "name": "rollout",
    "kind": "method",
    "signature": "rollout(): Promise<SeenRollout>",
    "doc": "What was sampled and measured before the update.",
  },
  {
    "of": "Microscope",
    "name": "rollOut",
    "kind": "method",
    "signature": "rollOut(options: { update?: number } = {}): Promise<SeenRollout>",
    "doc": "Samples the same posts anew.",
  },
  {
    "of": "Microscope",
    "name": "parameters",
    "kind": "method",
    "signature": 'parameters(): Promise<{ network: "policy" | "critic"; tensor: string; shape: number[] }[]>',
    "doc": "Names and shapes of the weights that AdamW can be shown for.",
  },
  {
    "of": "Microscope",
    "name": "derive",
    "kind": "method",
    "signature": "derive(knobs: Partial<Knobs> = {}): Promise<Derivation>",
    "doc": "Everything up to the loss of the first pass, by arithmetic in f64 alone.",
  },
  {
    "of": "Microscope",
    "name": "update",
    "kind": "method",
    "signature":
      "update(knobs: Partial<Knobs> = {}, options: { weight?: WeightPlace } = {}, onPass?: (done: number, of: number) => void): Promise<SeenUpdate>",
    "doc": "Takes the update on the device, from the same weights each time, and derives it beside that.",
  },
  {
    "of": "Microscope",
    "name": "slope",
    "kind": "method",
    "signature":
      "slope(weight: { tensor: string; index: number }, knobs: Partial<Knobs> = {}, options: { step?: number } = {}): Promise<{ slope: number; step: number; losses: [number, number] }>",
    "doc":
      "The slope of the first pass's policy loss in one weight, by central differences: what its gradient has to be.",
  },
];
