/** What the panes' styles have in common. */
import { css } from "lit";

export const paneStyle = css`
  :host {
    display: block;
    font-size: 13px;
    font-variant-numeric: tabular-nums;
  }
  .controls {
    display: flex;
    flex-wrap: wrap;
    gap: 6px 14px;
    align-items: center;
    margin: 0 0 10px;
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
    background: var(--paper);
    border: 1px solid var(--rule);
    border-radius: 3px;
    padding: 2px 6px;
    margin: 0;
    box-sizing: border-box;
  }
  button {
    cursor: pointer;
  }
  button.primary {
    background: var(--accent);
    border-color: var(--accent);
    color: var(--on-accent);
    font-weight: 500;
  }
  button:disabled {
    opacity: 0.55;
    cursor: default;
  }
  h2 {
    font: 600 12px/1.5 var(--sans);
    margin: 0 0 6px;
    color: var(--ink);
  }
  p {
    margin: 0 0 8px;
    text-wrap: pretty;
  }
  h2 i,
  .small i {
    display: inline-block;
    width: 9px;
    height: 9px;
    margin-right: 6px;
  }
  .hint,
  .small {
    color: var(--muted);
    font-size: 12px;
  }
  .bad,
  .down {
    color: light-dark(#b03a26, #ee8f7c);
  }
  .bad {
    overflow-wrap: anywhere;
  }
  code,
  .mono {
    font-family: var(--mono);
    font-size: 12px;
  }
  table {
    border-collapse: collapse;
    width: 100%;
    font-size: 12px;
  }
  th {
    font-weight: 500;
    color: var(--muted);
    text-align: left;
    white-space: nowrap;
  }
  th,
  td {
    border-bottom: 1px solid var(--rule);
    padding: 2px 10px 2px 0;
    vertical-align: baseline;
  }
  td.number,
  th.number {
    text-align: right;
    font-family: var(--mono);
  }
  th.number {
    font-family: var(--sans);
  }
  .scroll {
    overflow: auto;
    max-width: 100%;
  }
  .bar {
    display: block;
    height: 7px;
    background: var(--muted);
    min-width: 1px;
  }
  kbd {
    font: 11px/1 var(--mono);
    border: 1px solid var(--rule);
    border-radius: 3px;
    padding: 2px 4px;
  }
  :focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 1px;
  }
`;
