/** How the summaries of a few posts changed during PPO, from samples.jsonl. */
import { fixed } from "../format.ts";
import type { TrainingSample } from "./data.ts";
import { type Html, html, trusted } from "./html.ts";

/** Moments shown of each post, and posts that are open from the start. */
const mostMoments = 8, openPosts = 2;

/** One post with its summaries, oldest first; of two at one update, the later. */
interface Course {
  title: string;
  reference: string;
  summaries: TrainingSample[];
}

/** By post, in the order of their first summaries. */
export function coursesOf(samples: readonly TrainingSample[]): Course[] {
  const posts = new Map<string, Map<number, TrainingSample>>();
  for (const sample of samples) {
    if (sample.stage !== "ppo") continue;
    if (!posts.has(sample.id)) posts.set(sample.id, new Map());
    posts.get(sample.id)!.set(sample.update, sample);
  }
  return [...posts.values()].map((byUpdate) => {
    const all = [...byUpdate.values()].sort((a, b) => a.update - b.update);
    const count = Math.min(mostMoments, all.length);
    const at = (i: number) => count === 1 ? 0 : Math.round(i * (all.length - 1) / (count - 1));
    const summaries = Array.from({ length: count }, (_, i) => all[at(i)]);
    return { title: all[0].title, reference: all[0].reference, summaries };
  });
}

/** Undefined where nothing was sampled. */
export function courseSection(samples: readonly TrainingSample[]): Html | undefined {
  const courses = coursesOf(samples);
  if (courses.length === 0) return undefined;
  return html`
    <h3>The same posts in the course of training</h3>
    <p
      class="about">Near-greedy summaries of ${courses
        .length} validation posts; update 0 is the SFT policy.</p>
    <div class="courses">${courses.map(({ title, reference, summaries }, i) =>
      html`
        <details class="panel course" ${i < openPosts && trusted(" open")}>
          <summary>${title.trim() || "(no title)"}</summary>
          <table>
            <thead>
              <tr>
                <th scope="col" class="number">Update</th>
                <th scope="col">Summary</th>
              </tr>
            </thead>
            <tbody>${summaries.map(summaryRow)}
              <tr class="strong"><th scope="row" class="number">ref.</th><td>${reference.trim()}</td></tr>
            </tbody>
          </table>
        </details>
      `
    )}</div>
  `;
}

function summaryRow({ update, summary, reward, gold, length, ended }: TrainingSample): Html {
  return html`
    <tr>
      <th scope="row" class="number">${update}</th>
      <td>
        <p>${summary.trim() || html`<span class="muted">(empty)</span>`}</p>
        <p
          class="scores"><span>reward <b>${fixed(reward)}</b></span>${gold !== undefined &&
            html`<span>gold <b>${fixed(gold)}</b></span>`}<span>${length} tokens</span>${!ended &&
            html`<span>no end</span>`}</p>
      </td>
    </tr>
  `;
}
