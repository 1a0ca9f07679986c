/** The fields of the configuration that choose a judge and say how it is asked; lab/config.ts has them in `evaluate`. */
import { choice, integer, number, text } from "../config_fields.ts";

export const judgeFields = {
  judge: choice(["gold", "reward", "second", "local", "openai"], "reward", {
    doc: "Who compares: gold rule, our or another reward model, a local or a remote language model",
    from: "ours; P2 asks GPT-3.5",
  }),
  judgeModel: text("", {
    doc: "second, local: model folder or Hub id; openai: the model's name at OPENAI_BASE_URL",
    from: "none; eval has gpt-3.5-turbo-0125",
    placeholder: "MODEL",
    mayBeEmpty: true,
  }),
  judgePosts: integer(0, {
    doc: "local and openai compare on the first so many posts; 0 = all",
    unit: "posts",
    from: "eval",
    min: 0,
  }),
  judgeAnswerTokens: integer(256, {
    doc: "Longest answer of openai",
    unit: "tokens",
    from: "ours",
    min: 1,
  }),
  judgeAtOnce: integer(8, {
    doc: "Requests to openai at the same time",
    unit: "requests",
    from: "ours",
    min: 1,
    max: 256,
    neutral: true,
  }),
  judgePerMinute: integer(0, {
    doc: "Requests to openai a minute, at most; 0 = no limit",
    unit: "requests",
    from: "ours",
    min: 0,
    neutral: true,
  }),
  judgeRetries: integer(6, {
    doc: "How often a request that failed is sent again",
    unit: "times",
    from: "ours",
    min: 0,
    max: 100,
    neutral: true,
  }),
  judgeTimeout: integer(90, {
    doc: "A request without an answer has failed after so long",
    unit: "seconds",
    from: "ours",
    min: 1,
    neutral: true,
  }),
  judgeInputPrice: number(0, {
    doc: "Price of a million tokens that openai reads, to count the cost; 0 = not known",
    from: "ours",
    min: 0,
    neutral: true,
  }),
  judgeOutputPrice: number(0, {
    doc: "Price of a million tokens that openai writes",
    from: "ours",
    min: 0,
    neutral: true,
  }),
};
