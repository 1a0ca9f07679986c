/** How a stage tells where it is. The command line draws a line in the terminal, the page a bar; tests hear nothing. */

/** Latest values to show. `tokens` are those of this step: they make the rate. `memory` is in bytes. */
export type Figures = Record<string, number | string>;

export interface StageProgress {
  /** `n` steps of the stage are done. Cheap: what is shown is thinned out in time. */
  step(n: number, figures?: Figures): void;
  /** A sentence to show and leave standing. */
  note(text: string): void;
  /** The stage has ended; in one line, what came of it. */
  done(summary?: string): void;
}

export interface Progress {
  /** @param total `steps` in all, an earlier run's included, and what one of them is called in the plural */
  stage(name: string, total: { steps: number; unit: string }): StageProgress;
  /** A sentence to show and leave standing. */
  note(text: string): void;
}

/** Shows nothing. */
export const silent: Progress = {
  stage: () => ({ step() {}, note() {}, done() {} }),
  note() {},
};

/** Steps and tokens a second over the last few steps, so that the compilation of shaders in the first is soon forgotten. */
export class Rate {
  /** The time is that at which `step` was done; `tokens` have been counted since the first mark. */
  private readonly marks: { at: number; step: number; tokens: number }[] = [];

  /** @param at milliseconds; never less than before */
  add(at: number, step: number, tokens = 0): void {
    this.marks.push({ at, step, tokens: (this.marks.at(-1)?.tokens ?? 0) + tokens });
    // Ten steps are enough to go by; of slow ones, those of the last minute.
    while (this.marks.length > 11 || (this.marks.length > 2 && at - this.marks[1].at > 60_000)) {
      this.marks.shift();
    }
  }

  /** Per second; undefined until two steps are done, or while no time has passed. */
  get(): { steps: number; tokens: number } | undefined {
    const first = this.marks[0], last = this.marks.at(-1);
    if (!first || !last || last.at <= first.at || last.step <= first.step) return undefined;
    const seconds = (last.at - first.at) / 1000;
    return { steps: (last.step - first.step) / seconds, tokens: (last.tokens - first.tokens) / seconds };
  }
}
