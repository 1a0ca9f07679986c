/** A client for chat completions as OpenAI has them: limits its rate, waits when told to, tries again, and keeps the key to itself. */
import type { Message } from "./prompt.ts";

/** Where language models answer, and what differs between worlds. */
export interface Endpoint {
  /** Without "/chat/completions": "https://api.openai.com/v1". */
  url: string;
  /** Goes into the request's header and nowhere else. */
  key?: string;
  fetch(url: string, init: RequestInit): Promise<Response>;
  /** Resolves after so many milliseconds. */
  wait(milliseconds: number): Promise<void>;
  /** Milliseconds; never running backwards. */
  now(): number;
}

export interface ChatLimits {
  /** Requests a minute; 0 = no limit. */
  perMinute: number;
  /** How often a request that failed is sent again. */
  retries: number;
  /** Seconds until a request without an answer has failed. */
  timeout: number;
}

/** What is sent, apart from the key. */
export interface ChatRequest {
  model: string;
  messages: Message[];
  /** Tokens. */
  longestAnswer: number;
}

export interface ChatAnswer {
  /** Empty where the model gave none or the endpoint refused the text. */
  text: string;
  /** As the endpoint counts them; 0 where it does not. */
  promptTokens: number;
  completionTokens: number;
}

/** The endpoint cannot be used, or not now. The message says what to do. */
export class EndpointError extends Error {
  override name = "EndpointError";
}

export interface ChatClient {
  /**
   * @throws EndpointError where the endpoint refuses, or has failed once more than there are retries; whatever `stopping` throws while
   * waiting
   */
  ask(request: ChatRequest): Promise<ChatAnswer>;
  /** Requests sent, and those among them that were repetitions. */
  readonly counts: { sent: number; repeated: number };
}

/** A wait that the endpoint asks for and that is longer is left to the user. */
const longestWait = 15 * 60_000;
/** Waits are cut into pieces, after each of which the user may have asked to stop. Milliseconds. */
const piece = 500;

/**
 * @param checkStop called while waiting; it throws where the run is to stop
 * @param random draws from 0 to 1, for the jitter of waits
 */
export function chatClient(
  endpoint: Endpoint,
  limits: ChatLimits,
  checkStop: () => void = () => {},
  random: () => number = Math.random,
): ChatClient {
  const url = `${endpoint.url.replace(/\/+$/, "")}/chat/completions`;
  const counts = { sent: 0, repeated: 0 };
  /** No request starts before this moment: the next one's turn, or what the endpoint asked for. */
  let free = endpoint.now();
  /** What the endpoint calls the longest answer: newer models of OpenAI refuse the older name. */
  let limitName = "max_tokens";

  const waitUntil = async (moment: number) => {
    for (let left = moment - endpoint.now(); left > 0; left = moment - endpoint.now()) {
      await endpoint.wait(Math.min(left, piece));
      checkStop();
    }
  };
  const turn = async () => {
    while (true) {
      const start = Math.max(free, endpoint.now());
      if (start > endpoint.now()) {
        await waitUntil(start);
        continue;
      }
      free = start + (limits.perMinute > 0 ? 60_000 / limits.perMinute : 0);
      return;
    }
  };
  /** The key must not come back in a message, even where the endpoint repeats it. */
  const shown = (text: string) => {
    const safe = endpoint.key ? text.replaceAll(endpoint.key, "…") : text;
    return safe.replace(/\s+/g, " ").trim().slice(0, 300);
  };
  const failed = (why: string) =>
    new EndpointError(
      `${endpoint.url} ${why}; what was answered is kept: start again with --resume to go on from there.`,
    );

  const send = async ({ model, messages, longestAnswer }: ChatRequest): Promise<Outcome> => {
    const nameOfLimit = limitName;
    let response: Response, body: string;
    try {
      response = await endpoint.fetch(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(endpoint.key && { authorization: `Bearer ${endpoint.key}` }),
        },
        body: JSON.stringify({ model, messages, [nameOfLimit]: longestAnswer }),
        signal: AbortSignal.timeout(1000 * limits.timeout),
      });
      body = await response.text();
    } catch (error) {
      const slow = error instanceof Error && error.name === "TimeoutError";
      const why = error instanceof Error ? error.message : String(error);
      return {
        again: slow ? `gave no answer within ${limits.timeout} s` : `cannot be reached (${shown(why)})`,
      };
    }
    const json = parsed(body);
    if (response.ok) {
      const answer = answerIn(json);
      return answer ?? { again: `answered with something else than a chat completion: ${shown(body)}` };
    }
    const { status } = response;
    const { code, message } = errorIn(json);
    const said = `answered ${status}${message || body ? `: ${shown(message ?? body)}` : ""}`;
    if (status === 400 && nameOfLimit === "max_tokens" && body.includes("max_completion_tokens")) {
      limitName = "max_completion_tokens";
      return { again: said, atOnce: true };
    }
    // One text that the endpoint will not read must not end the evaluation of all others.
    if (status === 400 && (code === "content_filter" || code === "context_length_exceeded")) {
      return { text: "", promptTokens: 0, completionTokens: 0 };
    }
    if (status === 401 || status === 403) throw failed(`refuses the key (${said}); check OPENAI_API_KEY`);
    if (code === "insufficient_quota") throw failed(said);
    if (status === 408 || status === 409 || status === 425 || status === 429 || status >= 500) {
      return { again: said, wait: retryAfter(response.headers) };
    }
    throw failed(`${said}; check OPENAI_BASE_URL and evaluate.judgeModel`);
  };

  const ask = async (request: ChatRequest): Promise<ChatAnswer> => {
    for (let attempt = 0;; attempt++) {
      checkStop();
      await turn();
      counts.sent++;
      if (attempt > 0) counts.repeated++;
      const outcome = await send(request);
      if ("text" in outcome) return outcome;
      if (outcome.atOnce) {
        attempt--;
        continue;
      }
      if (attempt >= limits.retries) throw failed(`${outcome.again}, ${attempt + 1} times in a row`);
      if ((outcome.wait ?? 0) > longestWait) {
        throw failed(`${outcome.again} and asks to wait ${Math.ceil(outcome.wait! / 1000)} s`);
      }
      // Half of the wait is left to chance, so that requests that failed together do not come back together.
      const backoff = Math.min(60_000, 1000 * 2 ** attempt) * (0.5 + 0.5 * random());
      const until = endpoint.now() + (outcome.wait ?? backoff);
      // What the endpoint asks for holds for everybody; a failure without a word, for this request alone.
      if (outcome.wait !== undefined) free = Math.max(free, until);
      await waitUntil(until);
    }
  };
  return { ask, counts };
}

/** An answer, or why to send again, when, and whether at once and uncounted. */
type Outcome = ChatAnswer | { again: string; wait?: number; atOnce?: boolean };

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function answerIn(json: unknown): ChatAnswer | undefined {
  const { choices, usage } = (json ?? {}) as {
    choices?: { message?: { content?: unknown } }[];
    usage?: { prompt_tokens?: unknown; completion_tokens?: unknown };
  };
  const message = Array.isArray(choices) ? choices[0]?.message : undefined;
  if (typeof message !== "object" || message === null) return undefined;
  const count = (value: unknown) => typeof value === "number" && value > 0 ? value : 0;
  return {
    text: typeof message.content === "string" ? message.content : "",
    promptTokens: count(usage?.prompt_tokens),
    completionTokens: count(usage?.completion_tokens),
  };
}

function errorIn(json: unknown): { code?: string; message?: string } {
  const error = (json as { error?: { code?: unknown; type?: unknown; message?: unknown } } | undefined)
    ?.error;
  if (typeof error !== "object" || error === null) return {};
  const text = (value: unknown) => typeof value === "string" ? value : undefined;
  return { code: text(error.code) ?? text(error.type), message: text(error.message) };
}

/** Milliseconds that the endpoint asks to wait: `retry-after-ms`, or `Retry-After` as seconds or as a date (RFC 9110, 10.2.3). */
export function retryAfter(headers: Headers, now: number = Date.now()): number | undefined {
  const exact = headers.get("retry-after-ms");
  if (exact !== null && /^\d+(\.\d+)?$/.test(exact.trim())) return Number(exact);
  const value = headers.get("retry-after")?.trim();
  if (!value) return undefined;
  if (/^\d+(\.\d+)?$/.test(value)) return 1000 * Number(value);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
