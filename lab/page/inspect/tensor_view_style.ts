import { css } from "lit";

export const tensorViewStyle = css`
  :host {
    display: block;
    font-variant-numeric: tabular-nums;
  }
  .controls {
    display: flex;
    flex-wrap: wrap;
    gap: 6px 14px;
    align-items: center;
    margin: 0 0 8px;
    font-size: 12px;
    color: var(--muted);
  }
  label {
    display: inline-flex;
    gap: 5px;
    align-items: center;
  }
  select,
  input,
  button {
    font: 12px/1.5 var(--sans);
    color: var(--ink);
    background: transparent;
    border: 1px solid var(--rule);
    border-radius: 3px;
    padding: 2px 6px;
    margin: 0;
  }
  select {
    background: var(--paper);
  }
  input {
    width: 7em;
  }
  button {
    cursor: pointer;
  }
  button:disabled {
    opacity: 0.55;
    cursor: default;
  }
  .orders {
    display: inline-flex;
    gap: 2px;
  }
  .flag {
    border-color: #c0007f;
    color: light-dark(#a8006f, #ff77c8);
    font-weight: 600;
  }
  .zoom {
    margin-left: auto;
    display: inline-flex;
    gap: 2px;
  }
  :focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 1px;
  }
  .figure {
    position: relative;
    overflow: hidden;
  }
  canvas {
    display: block;
    width: 100%;
    touch-action: none;
    cursor: crosshair;
    /* What the drawing takes its colours from. */
    color: var(--ink);
    border: 0 solid var(--rule);
    caret-color: var(--muted);
    outline-color: var(--accent);
    font-family: var(--mono);
  }
  :host([compact]) .readout {
    min-height: 3.2em;
  }
  .wait {
    position: absolute;
    inset: 40% 0 auto;
    text-align: center;
    margin: 0;
    color: var(--muted);
  }
  .trouble,
  .bad {
    color: light-dark(#b03a26, #ee8f7c);
    overflow-wrap: anywhere;
  }
  .bad {
    inset: 30% 24px auto;
  }
  .legend {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 20px;
    align-items: start;
    margin: 8px 0 0;
    font-size: 12px;
    color: var(--muted);
  }
  .legend p {
    margin: 0;
    flex: 1 1 300px;
    text-wrap: pretty;
    min-height: 3em;
  }
  .scale {
    flex: 0 0 200px;
  }
  .bar {
    display: block;
    height: 9px;
    border: 1px solid var(--rule);
    position: relative;
  }
  .bar.above::after,
  .bar.below::before {
    content: "";
    position: absolute;
    top: -1px;
    border: 5px solid transparent;
  }
  .bar.above::after {
    right: -10px;
    border-left-color: var(--muted);
  }
  .bar.below::before {
    left: -10px;
    border-right-color: var(--muted);
  }
  .ends {
    display: flex;
    justify-content: space-between;
    font: 11px/1.5 var(--mono);
  }
  .cost {
    white-space: nowrap;
  }
  .readout {
    min-height: 4.6em;
    margin: 8px 0 0;
    padding: 6px 0;
    border-top: 1px solid var(--rule);
    border-bottom: 1px solid var(--rule);
    font-size: 13px;
  }
  .readout p {
    margin: 0;
    overflow-wrap: anywhere;
  }
  .readout b {
    font: 13px/1.4 var(--mono);
    white-space: pre-wrap;
  }
  .readout output {
    font: 600 13px/1.4 var(--mono);
    margin: 0 6px;
  }
  .readout i {
    font: 600 12px/1.4 var(--sans);
    color: var(--accent);
    margin-right: 6px;
  }
  .readout span,
  .cell,
  .hint {
    color: var(--muted);
    font-size: 12px;
  }
  .below {
    display: grid;
    grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
    gap: 32px;
    margin: 12px 0 0;
  }
  img {
    max-width: 100%;
    image-rendering: pixelated;
    border: 1px solid var(--rule);
  }
  .empty {
    color: var(--muted);
  }
  kbd {
    font: 11px/1 var(--mono);
    border: 1px solid var(--rule);
    border-radius: 3px;
    padding: 2px 4px;
  }
  .unseen {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
  }
  @media (max-width: 700px) {
    .below {
      grid-template-columns: minmax(0, 1fr);
      gap: 20px;
    }
    .scale {
      flex-basis: 100%;
      box-sizing: border-box;
      padding: 0 10px;
    }
    .legend p {
      flex-basis: 100%;
    }
  }
`;
