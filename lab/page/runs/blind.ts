/** Two contenders' summaries of the same posts, names hidden until all have been judged. Choices stay in this browser. */
import { html, LitElement, nothing } from "lit";
import { percent } from "../../format.ts";
import { type BlindChoice, choicesJsonl, tally, type Trial, trialsOf, verdictOf } from "../../runs/blind.ts";
import { wilsonInterval } from "../../winrate.ts";

/** Somebody who has written summaries of posts. */
export interface Contender {
  name: string;
  /** By the post's id. */
  texts: Map<string, string>;
  titles: Map<string, string>;
}

const storage = "precis-blind";

/** The choices of this browser; none where it keeps nothing. */
function keptChoices(): BlindChoice[] {
  try {
    const kept = JSON.parse(localStorage.getItem(storage) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

export class RunBlind extends LitElement {
  static override properties = {
    contenders: { attribute: false },
    names: { state: true },
    trials: { state: true },
    place: { state: true },
    choices: { state: true },
    kept: { state: true },
  };
  declare contenders: readonly Contender[];
  /** The two who are compared, by name; empty ones stand for the usual. */
  declare private names: [string, string];
  /** Null before it has begun. */
  declare private trials: Trial[] | null;
  declare private place: number;
  declare private choices: BlindChoice[];
  /** All that this browser has kept, earlier rounds too. */
  declare private kept: BlindChoice[];

  constructor() {
    super();
    this.contenders = [];
    this.names = ["", ""];
    this.trials = null;
    this.place = 0;
    this.choices = [];
    this.kept = keptChoices();
  }

  /** The style sheet is the document's. */
  override createRenderRoot() {
    return this;
  }

  private onKey = (event: KeyboardEvent) => {
    if (
      (event.target as HTMLElement).closest?.("input, select, textarea") || event.ctrlKey || event.metaKey
    ) return;
    const side = ({ "1": "left", "2": "right", "0": "tie" } as const)[event.key];
    if (side && this.trials && this.place < this.trials.length) {
      event.preventDefault();
      this.choose(side);
    }
  };

  override connectedCallback() {
    super.connectedCallback();
    document.addEventListener("keydown", this.onKey);
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    document.removeEventListener("keydown", this.onKey);
  }

  /** The two who are compared: as chosen, else the first policy and the last. */
  private pair(): [Contender, Contender] | undefined {
    const usual = [this.contenders[1] ?? this.contenders[0], this.contenders.at(-1)];
    const [a, b] = this.names.map((name, i) => this.contenders.find((one) => one.name === name) ?? usual[i]);
    return a && b && a !== b ? [a, b] : undefined;
  }

  private begin() {
    const [a, b] = this.pair()!;
    const pairs = [...a.texts].flatMap(([id, text]) => {
      const other = b.texts.get(id);
      return other === undefined
        ? []
        : [{ id, title: a.titles.get(id) ?? id, texts: [text, other] as const }];
    });
    this.trials = trialsOf(pairs, () => crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32);
    this.place = 0;
    this.choices = [];
  }

  private choose(side: "left" | "right" | "tie") {
    const trial = this.trials![this.place], [a, b] = this.pair()!;
    const choice: BlindChoice = {
      id: trial.id,
      title: trial.title,
      contenders: [a.name, b.name],
      texts: trial.texts,
      verdict: verdictOf(trial, side),
      left: trial.left,
      decidedAt: new Date().toISOString(),
    };
    this.choices = [...this.choices, choice];
    this.kept = [...this.kept, choice];
    this.place++;
    try {
      localStorage.setItem(storage, JSON.stringify(this.kept));
    } catch { /* a browser that keeps nothing still shows and exports this round */ }
  }

  private export() {
    const url = URL.createObjectURL(new Blob([choicesJsonl(this.kept)], { type: "application/jsonl" }));
    Object.assign(document.createElement("a"), { href: url, download: "blind-choices.jsonl" }).click();
    URL.revokeObjectURL(url);
  }

  private forget() {
    this.kept = [];
    try {
      localStorage.removeItem(storage);
    } catch { /* nothing was kept */ }
  }

  override render() {
    const exporting = this.kept.length > 0
      ? html`
        <p class="tools">
          <button type="button" class="small" @click=${() => this.export()}>Export ${this.kept
            .length} choices (JSONL)</button>
          <button type="button" class="small" @click=${() => this.forget()}>Forget them</button>
          <span class="hint">kept in this browser alone</span>
        </p>
      `
      : nothing;
    if (!this.trials) return html`${this.start()}${exporting}`;
    if (this.place >= this.trials.length) return html`${this.results()}${exporting}`;
    const { title, texts, left } = this.trials[this.place];
    const sides = left === "first" ? texts : [texts[1], texts[0]];
    return html`
      <p class="hint" role="status">Post ${this.place + 1} of ${this.trials
        .length}. Whose is whose is told at the end.</p>
      <h3 class="blind-title">${title}</h3>
      <div class="blind">
        ${(["left", "right"] as const).map((side, i) =>
          html`<div><p class="summary">${sides[i].trim() || "(empty)"}</p>
          <button type="button" @click=${() => this.choose(side)}>This one <kbd>${i + 1}</kbd></button></div>`
        )}
      </div>
      <p class="tools"><button type="button" @click=${() => this.choose("tie")}>Alike <kbd>0</kbd></button>
        <button type="button" class="small" @click=${() =>
          this.place = this.trials!.length}>Stop here and tell</button></p>
    `;
  }

  private start() {
    const pair = this.pair();
    const select = (i: 0 | 1, label: string) =>
      html`<label class="choice">${label} <select @change=${(event: Event) => {
        const names: [string, string] = [...this.names];
        names[i] = (event.target as HTMLSelectElement).value;
        this.names = names;
      }}>${
        this.contenders.map(({ name }) =>
          html`<option value=${name} ?selected=${
            name === (this.names[i] || (i === 0 ? this.contenders[1] : this.contenders.at(-1))?.name)
          }>${name}</option>`
        )
      }</select></label>`;
    return html`
      <p class="tools">${select(0, "Compare")}${select(1, "with")}
        <button type="button" class="primary" ?disabled=${!pair} @click=${() =>
          this.begin()}>Begin</button></p>
      <p class="hint">${pair
        ? "Each post is shown with both summaries, sides and order drawn by lot, names and rewards hidden. Keys 1 and 2 choose, 0 is a tie."
        : "Choose two different ones."}</p>
    `;
  }

  private results() {
    const { first, second, tie, left } = tally(this.choices);
    const [a, b] = this.pair()!.map(({ name }) => name);
    const decided = first + second;
    const [low, high] = wilsonInterval(second + tie / 2, Math.max(1, first + second + tie));
    const again = html`<button type="button" class="small" @click=${() =>
      this.trials = null}>Compare others</button>`;
    if (this.choices.length === 0) {
      return html`
        <p class="hint">Nothing was compared: the two wrote the same of every post.</p>
        <p class="tools">${again}</p>
      `;
    }
    return html`
      <table class="dense results">
        <tbody>
          <tr>
            <th scope="row">${a}</th>
            <td class="number"><b>${first}</b></td>
          </tr>
          <tr>
            <th scope="row">${b}</th>
            <td class="number"><b>${second}</b></td>
          </tr>
          <tr>
            <th scope="row">alike</th>
            <td class="number">${tie}</td>
          </tr>
        </tbody>
      </table>
      <p>${b} was preferred to ${a} in <b>${percent(
        (second + tie / 2) / (first + second + tie),
      )}</b> of ${this.choices.length} (95 % interval ${percent(low)} to ${percent(
        high,
      )}, ties half).${decided > 0 ? ` The left side was chosen in ${left} of ${decided}.` : ""}</p>
      <p class="tools">${again}</p>
    `;
  }
}

customElements.define("run-blind", RunBlind);
