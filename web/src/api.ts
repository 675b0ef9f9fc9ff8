// Talking to the service: the token, refusals in words, and patience with a service that is busy, warming up or away.
import { signal } from "@preact/signals";

export interface Refusal {
  field: string;
  value: unknown;
  expected: string;
}

/** A problem document (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly errors: Refusal[] = [],
  ) {
    super(detail);
  }
}

/** What the page waits for, told to whoever looks at it; null if for nothing. */
export const waiting = signal<string | null>(null);
/** Whether the service asks for a token that the page does not have. */
export const locked = signal<"" | "missing" | "refused">("");

const KEY = "eddylift-token";
let unlock: (() => void)[] = [];

/** Keep a token for this tab, and send again what waits for one. */
export function give(token: string): void {
  sessionStorage.setItem(KEY, token.trim());
  locked.value = "";
  for (const go of unlock.splice(0)) go();
}

/** Try until the service answers; refusals that no patience helps against are thrown as a Problem. */
export async function ask(path: string, options: RequestInit = {}): Promise<Response> {
  for (let tries = 0; ; tries++) {
    const token = sessionStorage.getItem(KEY);
    const headers = new Headers(options.headers);
    if (token) headers.set("Authorization", `Bearer ${token}`);
    let response: Response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      await pause("The service cannot be reached", Math.min(8, 1 + tries), options.signal);
      continue;
    }
    if (response.ok) {
      waiting.value = null;
      return response;
    }
    if (response.status === 401) {
      // Another request may have brought one meanwhile.
      if (token === sessionStorage.getItem(KEY)) {
        locked.value = token ? "refused" : "missing";
        await new Promise<void>((go) => unlock.push(go));
      }
      continue;
    }
    const problem = await read(response);
    const after = Number(response.headers.get("Retry-After"));
    if ((response.status === 429 || response.status === 503) && after > 0) {
      await pause(`${problem.title}: ${problem.detail}`, after, options.signal);
      continue;
    }
    throw problem;
  }
}

async function read(response: Response): Promise<Problem> {
  try {
    const { title, detail, errors } = await response.json();
    return new Problem(response.status, title, detail, errors);
  } catch {
    return new Problem(response.status, response.statusText || `Status ${response.status}`, "The answer says no more.");
  }
}

function pause(why: string, seconds: number, signal?: AbortSignal | null): Promise<void> {
  waiting.value = `${why}. Trying again in ${Math.ceil(seconds)} s; nothing is lost.`;
  return new Promise((go, stop) => {
    const timer = setTimeout(go, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      stop(signal.reason);
    });
  });
}

export async function json<T>(path: string, options?: RequestInit): Promise<T> {
  return (await ask(path, options)).json() as Promise<T>;
}

export function order<T>(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  if (body === undefined) return json(path, { method: "POST", headers });
  headers = { "Content-Type": "application/json", ...headers };
  return json(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Server-sent events by a fetch, as an EventSource cannot send a token. */
export async function* events<T>(path: string, signal: AbortSignal): AsyncGenerator<T> {
  const response = await ask(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split(/\r?\n\r?\n/);
    text = blocks.pop()!;
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (data.length) yield JSON.parse(data.map((line) => line.slice(5)).join("\n"));
    }
  }
}

/** What went wrong, in words. */
export function words(error: unknown): string {
  if (error instanceof Problem) return `${error.title}: ${error.detail}`;
  return error instanceof Error ? error.message : String(error);
}
