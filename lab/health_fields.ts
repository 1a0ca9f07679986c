/**
 * The configuration's section `health`: bounds that a run of PPO is held against, and what comes of leaving them. P1, P2 and "ours" as in
 * `originsNote` of config.ts.
 */
import { choice, type Fields, integer, number } from "./config_fields.ts";

const reaction = (value: "warn" | "stop" | "rollback", what: string) =>
  choice(["warn", "stop", "rollback"], value, {
    doc: `What ${what} leads to; rollback: the last checkpoint, a lower rate`,
    from: "ours",
    // A run that was never rolled back computes the same whatever the bounds; one that was tells so in its report.
    neutral: true,
  });

export const healthFields = {
  window: integer(4, {
    doc: "The bounds below are for means over so many updates of PPO",
    unit: "updates",
    from: "ours",
    min: 1,
    neutral: true,
  }),
  klWarn: number(25, {
    doc: "KL to the SFT policy that is warned of; 0 = off",
    unit: "nats a response",
    from: "P1 Tables 9, 10: 18 to 19 at β .05",
    min: 0,
    neutral: true,
  }),
  klMost: number(45, {
    doc: "KL at which a run counts as collapsed; 0 = off",
    unit: "nats a response",
    from: "P2: two of four 1B runs collapsed, at 50 and 85",
    min: 0,
    neutral: true,
  }),
  klReaction: reaction("rollback", "KL above klMost"),
  lengthMost: number(0.95, {
    doc: "Mean length as a share of ppo.responseLength; 0 = off",
    from: "P2: 41 to 45 of 53; pinned at the end it is hacking",
    min: 0,
    neutral: true,
  }),
  lengthReaction: reaction("warn", "length above lengthMost"),
  eosLeast: number(0.8, {
    doc: "Share of responses that end; 0 = off",
    from: "ours; good runs keep above .95",
    min: 0,
    max: 1,
    neutral: true,
  }),
  eosReaction: reaction("warn", "an EOS rate below eosLeast"),
  entropyLeast: number(0.05, {
    doc: "Entropy of the policy; 0 = off",
    unit: "nats a token",
    from: "ours",
    min: 0,
    neutral: true,
  }),
  entropyReaction: reaction("warn", "entropy below entropyLeast"),
  clipMost: number(0.4, {
    doc: "Share of tokens whose ratio is clipped; 0 = off",
    from: "ours; .07 in the released log",
    min: 0,
    neutral: true,
  }),
  clipReaction: reaction("warn", "a clip fraction above clipMost"),
  nonFiniteReaction: choice(["stop", "rollback"], "stop", {
    doc: "What a loss or gradient that is not finite leads to, in every stage",
    from: "ours",
    neutral: true,
  }),
  rollbackFactor: number(0.5, {
    doc: "A rollback multiplies the stage's learning rate by it",
    from: "ours",
    above: 0,
    max: 1,
    neutral: true,
  }),
  mostRollbacks: integer(2, {
    doc: "Rollbacks of a stage; the next alarm that asks for one stops the run",
    from: "ours",
    min: 0,
    neutral: true,
  }),
} as const satisfies Fields;
