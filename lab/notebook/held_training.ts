/** Training, and an update under the microscope, as cells hold them by a handle: lab/live on the demo's data. */
import { type Config, readConfig } from "../config.ts";
import type { DemoDataset } from "../dataset.ts";
import { type GoldDetail, goldDetail, goldScore } from "../demo/gold.ts";
import type { Knobs } from "../live/derivation.ts";
import { type Microscope, ppoMicroscope, type WeightPlace } from "../live/microscope.ts";
import { type PpoTrainer, ppoTrainer } from "../live/ppo.ts";
import { type RewardTrainer, rewardTrainer } from "../live/reward.ts";
import { type SftTrainer, sftTrainer } from "../live/sft.ts";
import type { Post } from "../query.ts";
import type { Qwen2 } from "../qwen2.ts";
import type { SummarisedPost } from "../dataset.ts";
import { sha256Of } from "../bytes.ts";
import { type Xray, xray } from "../live/xray.ts";
import type { Arguments } from "./arguments.ts";
import { HeldModel } from "./held_model.ts";
import type { Held, Session } from "./session.ts";

type AnyTrainer = SftTrainer | RewardTrainer | PpoTrainer;

/** What trainers and microscopes are made with. */
export interface Stock {
  session: Session;
  /** Opens the model of a place. */
  open(place: string): Promise<HeldModel>;
  data(): Promise<DemoDataset>;
}

export class HeldTrainer implements Held {
  readonly kind = "Trainer";

  constructor(
    readonly session: Session,
    readonly trainer: AnyTrainer,
    private readonly config: Config,
    private readonly ground: HeldModel,
    readonly bytes: number,
  ) {}

  facts(): Record<string, unknown> {
    const { stage, steps } = this.trainer;
    return {
      name: `${stage} trainer`,
      stage,
      steps,
      settings: { ...this.config[stage as "sft"] },
      seed: this.config.seed,
    };
  }

  free(): void {
    this.state.freed = true;
    this.trainer.dispose();
  }

  private readonly state = { freed: false };

  /** What every long call asks: whether there is time left on the device. */
  readonly heed = () => this.session.meter.requireGpu();

  /** The model as it is now and as it becomes: a handle that lives as long as the trainer. */
  model(): HeldModel {
    const { trainer, config, state, ground: { open } } = this;
    return new HeldModel(this.session, {
      place: `${trainer.stage} in training`,
      gpu: open.gpu,
      get model() {
        if (state.freed) {
          throw new Error(
            `The ${trainer.stage} trainer is gone, and with it its model: its cell has run again.`,
          );
        }
        return trainer.model;
      },
      tokenizer: open.tokenizer,
      source: open.source,
      training: {
        stage: trainer.stage,
        get step() {
          return trainer.done;
        },
      },
      configuration: () => Promise.resolve(config),
      digest: async () => sha256Of((await trainer.export()).get("model.safetensors")!),
      bytes: 0,
      milliseconds: 0,
    }, false);
  }
}

/** `lab.trainer(stage, options)`. Options that are no model, `steps` or `seed` are fields of the stage's configuration. */
export async function makeTrainer(stock: Stock, args: Arguments): Promise<HeldTrainer> {
  const stage = args.text(0, "the stage");
  if (!(stage === "sft" || stage === "reward" || stage === "ppo")) {
    throw args.wrong("the stage", '"sft", "reward" or "ppo"', stage);
  }
  const { base, policy, reward, steps, seed, ...fields } = args.options(1).values;
  const named = { sft: { base }, reward: { base }, ppo: { policy, reward } }[stage];
  for (const [name, value] of Object.entries({ base, policy, reward })) {
    if (value !== undefined && !(name in named)) {
      throw new RangeError(
        `${args.method}: a trainer of ${stage} takes no "${name}", but ${Object.keys(named).join(" and ")}.`,
      );
    }
  }
  const start = await modelOf(
    stock,
    args,
    stage === "ppo" ? policy : base,
    stage === "sft" ? "base" : "sft",
    false,
  );
  const config = await configured(start, args, stage, steps, seed, fields);
  const gpu = await stock.session.gpu();
  const tokenizer = await start.open.tokenizer();
  const ground = { gpu, tokenizer, config };
  const { posts, pairs } = await stock.data();
  const rewardModel = stage === "ppo" ? await modelOf(stock, args, reward, "reward", true) : undefined;
  const bytes = bytesOf(start.open.model) * (stage === "ppo" ? 5 : 4) +
    (rewardModel ? 5 * bytesOf(rewardModel.open.model) : 0);
  stock.session.meter.requireBytes(bytes, `The ${stage} trainer`);
  const trainer = stage === "sft"
    ? await sftTrainer({ ...ground, base: start.open.model, posts })
    : stage === "reward"
    ? await rewardTrainer({ ...ground, base: start.open.model, pairs, references: posts.train })
    : await ppoTrainer({
      ...ground,
      policy: start.open.model,
      rewardModel: rewardModel!.open.model,
      posts,
      gold,
    });
  return new HeldTrainer(stock.session, trainer, config, start, bytes);
}

async function configured(
  { open }: HeldModel,
  args: Arguments,
  stage: "sft" | "reward" | "ppo",
  steps: unknown,
  seed: unknown,
  fields: Record<string, unknown>,
): Promise<Config> {
  const config = await open.configuration();
  const section: Record<string, unknown> = { ...config[stage], ...fields };
  if (steps !== undefined) {
    if (!(Number.isInteger(steps) && (steps as number) > 0)) {
      throw args.wrong("steps", "a whole number above 0", steps);
    }
    const rows = (steps as number) * Number(section.batch);
    Object.assign(section, stage === "ppo" ? { episodes: rows } : { rows, epochs: 1 });
  }
  return readConfig({ ...config, ...(seed !== undefined && { seed }), [stage]: section }, args.method);
}

async function modelOf(
  stock: Stock,
  args: Arguments,
  given: unknown,
  otherwise: string,
  scores: boolean,
): Promise<HeldModel> {
  const found = given instanceof HeldTrainer
    ? given.model()
    : given instanceof HeldModel
    ? given
    : await stock.open(
      typeof given === "string" ? given : given === undefined ? otherwise : refuse(args, given),
    );
  if (Boolean(found.open.model.score) !== scores) {
    throw new RangeError(
      `${args.method}: ${found.open.place} is a ${scores ? "language" : "reward"} model where a ${
        scores ? "reward" : "language"
      } model is needed.`,
    );
  }
  return found;
}

function refuse(args: Arguments, value: unknown): never {
  throw args.wrong("a model", "a place, a model or a trainer", value);
}

function bytesOf({ parameters }: Qwen2): number {
  return 4 * parameters.size;
}

const gold = (post: SummarisedPost, summary: string) => goldScore({ ...post, facts: post.facts! }, summary);

/** `lab.gold(post, summary)`: the demo's own rule, which no model sees. */
export async function goldOf(stock: Stock, args: Arguments): Promise<GoldDetail> {
  const { id } = args.post(0);
  const { posts } = await stock.data();
  const known = Object.values(posts).flat().find((post) => post.id === id);
  if (!known?.facts) {
    throw args.wrong(
      "the post",
      "a post of the demo's, with its id: the rule knows the facts of these alone",
      args.get(0),
    );
  }
  return goldDetail({ ...known, facts: known.facts }, args.text(1, "the summary"));
}

/** `model.xray(post, summary)`. */
export async function xrayOf(held: HeldModel, args: Arguments, session: Session): Promise<Xray> {
  const { gpu, model, tokenizer, configuration } = held.open;
  const { preprocess: { queryTokens } } = await configuration();
  const ground = { gpu, tokenizer: await tokenizer(), model, queryTokens };
  return await xray(ground, args.post(0), args.text(1, "the summary"), {
    heed: () => session.meter.requireGpu(),
    onProgress: args.callback(2, "onProgress"),
  });
}

type TrainerMethod = (held: HeldTrainer, args: Arguments) => unknown;

/** What may be called on a trainer; `evaluate`, `normalise`, `episodes` and `invariants` on those whose stage has them. */
export const trainerMethods: Record<string, TrainerMethod> = {
  done: ({ trainer }) => trainer.done,
  step: ({ trainer, heed }) => trainer.step({ heed }),
  run: ({ trainer, heed }, args) => {
    const onStep = args.callback(1, "onStep");
    return trainer.run(args.number(0, "the count"), { heed, onStep });
  },
  evaluate: (held, args) => {
    const trainer = having(held, "evaluate", args);
    return trainer.evaluate({ heed: held.heed });
  },
  sample: ({ trainer, heed }, args) => {
    const options = args.options(1).only("temperature");
    const temperature = options.has("temperature") ? { temperature: options.number("temperature") } : {};
    return trainer.sample(args.number(0, "the count"), { heed, ...temperature });
  },
  normalise: (held, args) => having(held, "normalise", args).normalise({ heed: held.heed }),
  episodes: (held, args) =>
    having(held, "episodes", args).episodes(args.get(0) === undefined ? 4 : args.number(0, "the count")),
  invariants: (held, args) => [...having(held, "invariants", args).invariants],
  beta: (held, args) => having(held, "beta", args).beta,
  model: (held) => held.model(),
};

/** A trainer that has such a method, or a refusal. */
function having<Name extends string>(
  { trainer }: HeldTrainer,
  name: Name,
  args: Arguments,
): Extract<AnyTrainer, Record<Name, unknown>> {
  if (name in trainer) return trainer as Extract<AnyTrainer, Record<Name, unknown>>;
  throw new TypeError(`${args.method}: a trainer of ${trainer.stage} has no ${name}.`);
}

export class HeldMicroscope implements Held {
  readonly kind = "Microscope";

  constructor(readonly session: Session, readonly microscope: Microscope, readonly bytes: number) {}

  facts(): Record<string, unknown> {
    const { rollout, knobs } = this.microscope;
    return {
      name: "microscope",
      episodes: rollout.episodes.length,
      slots: rollout.slots,
      knobs: { ...knobs },
    };
  }

  free(): void {
    this.microscope.dispose();
  }

  readonly heed = () => this.session.meter.requireGpu();
}

/** `lab.microscope(options)`. Options that are no model, `posts`, `update` or `seed` are fields of the configuration's section `ppo`. */
export async function makeMicroscope(stock: Stock, args: Arguments): Promise<HeldMicroscope> {
  const { policy, reference, critic, reward, posts = 4, update = 1, seed, ...fields } =
    args.options(0).values;
  const networks = {
    policy: await modelOf(stock, args, policy, "sft", false),
    reference: await modelOf(stock, args, reference, "sft", false),
    rewardModel: await modelOf(stock, args, reward, "reward", true),
    critic: await modelOf(stock, args, critic ?? reward, "reward", true),
  };
  const config = await configured(networks.policy, args, "ppo", undefined, seed, fields);
  const wholeUpdate = args.asNumber(update, "update");
  const bytes = 5 * (bytesOf(networks.policy.open.model) + bytesOf(networks.critic.open.model));
  stock.session.meter.requireBytes(bytes, "The microscope");
  const data = await stock.data();
  const microscope = await ppoMicroscope({
    gpu: await stock.session.gpu(),
    tokenizer: await networks.policy.open.tokenizer(),
    config,
    policy: networks.policy.open.model,
    reference: networks.reference.open.model,
    critic: networks.critic.open.model,
    rewardModel: networks.rewardModel.open.model,
    posts: typeof posts === "number" ? data.posts.validation.slice(0, posts) : postsOf(args, posts),
    update: wholeUpdate,
    heed: () => stock.session.meter.requireGpu(),
  });
  return new HeldMicroscope(stock.session, microscope, bytes);
}

/** Posts that a cell gave. */
function postsOf(args: Arguments, given: unknown): SummarisedPost[] {
  if (!Array.isArray(given) || given.length === 0) {
    throw args.wrong("posts", "a count or a list of posts", given);
  }
  return given.map((post: Partial<Post & { summary: string }>, i) => {
    const { id = `post ${i + 1}`, subreddit, title, post: body, summary = "" } = post ?? {};
    if ([id, subreddit, title, body, summary].some((text) => typeof text !== "string")) {
      throw args.wrong(`post ${i}`, "{ subreddit, title, post }, all texts", post);
    }
    return { id, subreddit: subreddit!, title: title!, post: body!, summary };
  });
}

export const microscopeMethods: Record<string, (held: HeldMicroscope, args: Arguments) => unknown> = {
  rollout: ({ microscope }) => microscope.rollout,
  rollOut: ({ microscope, heed }, args) =>
    microscope.rollOut({ heed, update: args.options(0).only("update").whole("update", 1, { min: 1 }) }),
  parameters: ({ microscope }) => microscope.parameters,
  derive: ({ microscope }, args) => microscope.derive(args.options(0).values as Partial<Knobs>),
  update: ({ microscope, heed }, args) => {
    const { weight } = args.options(1).only("weight").values;
    return microscope.update(args.options(0).values as Partial<Knobs>, {
      heed,
      onPass: args.callback(2, "onPass"),
      ...(weight !== undefined && { weight: weightOf(args, weight) }),
    });
  },
  slope: ({ microscope, heed }, args) => {
    const options = args.options(2).only("step");
    return microscope.slope(weightOf(args, args.get(0)), args.options(1).values as Partial<Knobs>, {
      heed,
      ...(options.has("step") && { step: options.number("step") }),
    });
  },
};

function weightOf(args: Arguments, value: unknown): WeightPlace {
  const { network = "policy", tensor, index } = (value ?? {}) as Partial<WeightPlace>;
  if (!["policy", "critic"].includes(network) || typeof tensor !== "string" || typeof index !== "number") {
    throw args.wrong("the weight", '{ network: "policy" or "critic", tensor: a name, index }', value);
  }
  return { network, tensor, index };
}
