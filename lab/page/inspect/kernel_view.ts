/** <kernel-view>: the dispatches behind a tensor, with their source, bindings, time, bytes and operations. */
import { css, html, LitElement, nothing, type PropertyValues } from "lit";
import type { Capture, Dispatch, Recording } from "../../inspect/types.ts";
import { count, size } from "../numbers.ts";
import { paneStyle } from "./pane_style.ts";
import type { Inspector } from "./service.ts";
import { wgslPieces } from "./wgsl.ts";

type Sort = "order" | "time" | "bytes" | "flops";
type Reach = "writes" | "behind" | "all";

/** Rows that are in the table at first. */
const page = 200;

/** The dispatches that wrote a tensor, and, where asked, all that wrote what they read. In order. */
export function dispatchesBehind(
  dispatches: readonly Dispatch[],
  writers: readonly number[],
  reach: Reach,
): Dispatch[] {
  if (reach === "all") return [...dispatches];
  const wanted = new Set(writers);
  if (reach === "behind") {
    // A set goes on over what is added to it on the way.
    for (const index of wanted) {
      for (const { producer } of dispatches[index].bindings) if (producer !== undefined) wanted.add(producer);
    }
  }
  return [...wanted].sort((a, b) => a - b).map((index) => dispatches[index]);
}

export class KernelView extends LitElement {
  static override properties = {
    service: { attribute: false },
    capture: { attribute: false },
    tensor: {},
    recording: { state: true },
    writers: { state: true },
    sort: { state: true },
    reach: { state: true },
    open: { state: true },
    more: { state: true },
    trouble: { state: true },
    alone: { state: true },
  };
  declare service: Pick<Inspector, "recording" | "behind" | "timeDispatch"> | null;
  declare capture: Capture | null;
  /** Name of the tensor on show, which may be none that was computed. */
  declare tensor: string;
  declare private recording: Recording | null;
  declare private sort: Sort;
  declare private reach: Reach;
  declare private open: number | null;
  declare private more: number;
  declare private trouble: string;
  /** Of the dispatch that is open: microseconds when it runs alone; null until it is asked for. */
  declare private alone: string | null;
  /** Of the tensor; none where it was not computed. */
  declare private writers: readonly number[];

  static override styles = [
    paneStyle,
    css`
      tbody tr.row {
        cursor: pointer;
      }
      tbody tr.row:hover {
        background: var(--alt);
      }
      td.path {
        color: var(--muted);
        font: 12px/1.6 var(--mono);
        white-space: nowrap;
      }
      td button.open {
        border: 0;
        background: none;
        padding: 0;
        font: 12px/1.6 var(--mono);
        white-space: nowrap;
      }
      th button {
        border: 0;
        padding: 0;
        background: none;
        color: inherit;
        font: inherit;
      }
      th[aria-sort="descending"] button {
        color: var(--ink);
        font-weight: 600;
      }
      td.detail {
        padding: 8px 0 16px 16px;
        border-left: 2px solid var(--accent);
      }
      pre {
        font: 12px/1.5 var(--mono);
        background: var(--alt);
        padding: 10px 12px;
        margin: 8px 0 0;
        overflow: auto;
        max-height: 480px;
        tab-size: 2;
      }
      .comment {
        color: var(--muted);
      }
      .keyword {
        color: light-dark(#7a3e9d, #cf9be8);
      }
      .type {
        color: light-dark(#0f6b63, #5cc7ba);
      }
      .attribute {
        color: light-dark(#8a5a00, #dcae57);
      }
      .number {
        color: light-dark(#1f5fa0, #8fbcf4);
      }
      td.number,
      th.number {
        color: inherit;
      }
    `,
  ];

  constructor() {
    super();
    this.service = null;
    this.capture = null;
    this.tensor = "";
    this.recording = null;
    this.sort = "order";
    this.reach = "behind";
    this.open = null;
    this.more = page;
    this.trouble = "";
    this.writers = [];
    this.alone = null;
  }

  override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has("open" as keyof KernelView)) this.alone = null;
    const { capture, service } = this;
    if (changed.has("capture")) {
      this.recording = null;
      this.open = null;
      this.trouble = "";
      if (capture && capture.dispatches > 0 && service) {
        service.recording(capture.id).then(
          (recording) => this.capture === capture && (this.recording = recording),
          (error) => this.trouble = error.message,
        );
      }
    }
    if ((changed.has("capture") || changed.has("tensor")) && capture && capture.dispatches > 0 && service) {
      const { tensor } = this;
      this.writers = [];
      service.behind(capture.id, tensor).then(
        ({ writers }) => this.tensor === tensor && this.capture === capture && (this.writers = writers),
        // A weight, say: nothing of the run wrote it.
        () => {},
      );
    }
  }

  private async timeAlone(index: number): Promise<void> {
    this.alone = "timing …";
    try {
      const microseconds = await this.service!.timeDispatch(this.capture!.id, index);
      if (this.open !== index) return;
      this.alone = microseconds === undefined
        ? "cannot be told on this adapter"
        : `${microseconds.toFixed(1)} µs`;
    } catch (error) {
      this.alone = (error as Error).message;
    }
  }

  override render() {
    const { capture, recording } = this;
    if (!capture || capture.dispatches === 0) {
      return html`
        <p
          class="hint">Here the dispatches behind a tensor would be. Run a text above with <b>dispatches</b> on: each is recorded
                with its WGSL, its bindings and, where the adapter has timestamps, its time.</p>
      `;
    }
    if (this.trouble) return html`<p class="bad" role="alert">${this.trouble}</p>`;
    if (!recording) return html`<p class="hint">Fetching ${capture.dispatches} records …</p>`;
    const known = this.writers.length > 0;
    const reach = known ? this.reach : "all";
    const found = dispatchesBehind(recording.dispatches, this.writers, reach);
    const by = (of: (dispatch: Dispatch) => number | undefined) => (a: Dispatch, b: Dispatch) =>
      (of(b) ?? -1) - (of(a) ?? -1);
    if (this.sort === "time") found.sort(by(({ microseconds }) => microseconds));
    if (this.sort === "bytes") found.sort(by(({ bytesMoved }) => bytesMoved));
    if (this.sort === "flops") found.sort(by(({ flops }) => flops));
    return html`
      ${this.controls(known, reach, found, recording)}
            <div class="scroll">
        <table>
          <thead>
            <tr>${this.head(
              "#",
              "order",
            )}<th>in</th><th>kernel</th><th>writes</th><th class="number">workgroups</th>
                ${this.head("µs", "time")}${this.head("bytes", "bytes")}${this.head(
                  "FLOP",
                  "flops",
                )}<th class="number">GB/s</th>
                <th class="number">GFLOP/s</th></tr>
          </thead>
          <tbody>${found.slice(0, this.more).map((dispatch) => this.row(dispatch))}</tbody>
        </table>
      </div>
            ${found.length > this.more
              ? html`<p><button type="button" @click=${() =>
                this.more += page * 5}>Show more of ${found.length}</button></p>`
              : nothing}
    `;
  }

  private controls(known: boolean, reach: Reach, found: Dispatch[], recording: Recording) {
    const total = (of: (dispatch: Dispatch) => number | undefined) =>
      found.reduce((sum, dispatch) => sum + (of(dispatch) ?? 0), 0);
    const timed = found.some(({ microseconds }) => microseconds !== undefined);
    const choice = (value: Reach, label: string) =>
      html`<label><input type="radio" name="reach" .checked=${reach === value} ?disabled=${
        !known && value !== "all"
      }
        @change=${() => this.reach = value}>${label}</label>`;
    return html`
      <div class="controls">
            ${choice("writes", known ? `what writes ${this.tensor}` : "what writes the tensor")} ${choice(
              "behind",
              "all behind it",
            )} ${choice("all", "every dispatch of the run")}
            </div>
      <p
        class="small">${found.length} of ${recording.dispatches.length} dispatches${timed
          ? `, ${(total(({ microseconds }) => microseconds) / 1000).toFixed(2)} ms`
          : ""}, ${size(total(({ bytesMoved }) => bytesMoved))} moved, ${count(
            total(({ flops }) => flops),
          )} FLOP, by the kernels’ contracts.${timed
          ? ""
          : " This adapter has no timestamps, so that no times are known."} A copy moves ${recording
          .peakGigabytesPerSecond.toFixed(1)} GB/s on this adapter.${known
          ? ""
          : " Choose an activation or a gradient from the list to see what is behind it alone."}</p>
    `;
  }

  private head(label: string, sort: Sort) {
    const sorted = this.sort === sort ? (sort === "order" ? "ascending" : "descending") : "none";
    return html`<th class="number" aria-sort=${sorted}><button type="button" @click=${() =>
      this.sort = sort}>${label}</button></th>`;
  }

  private row(dispatch: Dispatch) {
    const { index, path, kernel, workgroups, microseconds, bytesMoved, bytesBy, flops, bindings } = dispatch;
    const open = this.open === index;
    const rate = (amount: number | undefined) =>
      !amount || !microseconds ? "" : (amount / microseconds / 1000).toFixed(2);
    const written = bindings.filter(({ access }) => access === "write").map(({ tensor }) => tensor).join(
      ", ",
    );
    return html`
      <tr class="row" @click=${() => this.open = open ? null : index}>
        <td class="number">${index}</td>
        <td class="path">${path}</td>
        <td><button type="button" class="open" aria-expanded=${open}>${open
          ? "▾"
          : "▸"} ${kernel}</button></td>
        <td class="path">${written}</td>
        <td class="number">${workgroups.join(" × ")}</td>
        <td class="number">${microseconds?.toFixed(1) ?? ""}</td>
        <td class="number">${bytesBy === "bindings" ? "≈ " : ""}${size(bytesMoved)}</td>
        <td class="number">${flops === undefined ? "" : count(flops)}</td>
        <td class="number">${rate(bytesMoved)}</td>
        <td class="number">${rate(flops)}</td>
      </tr>
            ${open
              ? html`
                <tr>
                  <td class="detail" colspan="10">${this.detail(dispatch)}</td>
                </tr>
              `
              : nothing}
    `;
  }

  private detail({ index, bindings, params, overrides, source, kernel }: Dispatch) {
    const named = (values: Record<string, number>) =>
      Object.entries(values).map(([name, value]) => `${name} = ${value}`).join(", ");
    const text = this.recording!.sources[source] ?? "";
    return html`
      <table>
        <thead>
          <tr>
            <th>binding</th>
            <th>tensor</th>
            <th>shape</th>
            <th>dtype</th>
            <th class="number">bytes</th>
            <th>access</th>
            <th>written by</th>
          </tr>
        </thead>
        <tbody>${bindings.map(({ name, tensor, shape, dtype, bytes, access, producer }) =>
          html`
            <tr>
              <td class="mono">${name}</td>
              <td class="mono">${tensor}</td>
              <td class="mono">${shape.join(" × ")}</td>
              <td class="mono">${dtype}</td>
              <td class="number">${size(bytes)}</td>
              <td>${access}</td>
              <td>${producer === undefined
                ? html`<span class="small">before the run</span>`
                : html`<button type="button" @click=${() => {
                  this.reach = "all";
                  this.more = Math.max(this.more, producer + 1);
                  this.open = producer;
                }}>#${producer} ${this.recording!.dispatches[producer].kernel}</button>`}</td>
            </tr>
          `
        )}</tbody>
      </table>
      <p class="small">${Object.keys(params).length > 0
        ? `Parameters: ${named(params)}. `
        : ""}${Object.keys(overrides).length > 0
        ? `Constants: ${named(overrides)}. `
        : ""}Alone: ${this.alone ??
        html`<button type="button" @click=${() => this.timeAlone(index)}>time it</button>`}</p>
      <pre tabindex="0" role="region" aria-label="WGSL of ${kernel}">${wgslPieces(text).map((
        { kind, text },
      ) => kind === "plain" ? text : html`<span class=${kind}>${text}</span>`)}</pre>
    `;
  }
}

customElements.define("kernel-view", KernelView);
