// Talking to the service: the token, refusals in words, and patience with a service that is busy, warming up or away.
import { computed, signal } from "@preact/signals";
import { keep, recall } from "./storage";

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

const waits = signal<ReadonlyMap<object, string>>(new Map());
/** What the page waits for, told to whoever looks at it; null if for nothing. */
export const waiting = computed(() => [...waits.value.values()].at(-1) ?? null);
const KEY = "eddylift-token";
/** The token of this tab. */
export const token = signal(recall("sessionStorage", KEY) ?? "");
/** Why the page asks for a token: the service wants one, does not know this one, or the user wants to give another one. */
export const locked = signal<"" | "missing" | "refused" | "another">("");
/** How often the user gave another token: what the one before did not allow may be asked for again. */
export const replaced = signal(0);
let unlock: (() => void)[] = [];

/** Keep a token for this tab, and send again what waits for one. */
export function give(text: string): void {
  token.value = text.trim();
  keep("sessionStorage", KEY, token.value);
  if (locked.value === "another") replaced.value++;
  locked.value = "";
  for (const go of unlock.splice(0)) go();
}

/** Try until the service answers and all of the answer is read; refusals that no patience helps against are thrown as a Problem. */
async function ask<T>(path: string, read: (response: Response) => Promise<T>, options: RequestInit = {}): Promise<T> {
  const request = {};
  const pause = (why: string, seconds: number) => {
    waits.value = new Map([...waits.value, [request, `${why}. Trying again in ${Math.ceil(seconds)} s; nothing is lost.`]]);
    return sleep(seconds, options.signal);
  };
  try {
    for (let tries = 1; ; tries++) {
      const sent = token.value;
      const headers = new Headers(options.headers);
      if (sent) headers.set("Authorization", `Bearer ${sent}`);
      try {
        const response = await fetch(path, { ...options, headers });
        if (response.ok) {
          settle(request);
          return await read(response);
        }
        if (response.status === 401) {
          // Another request may have brought one meanwhile.
          if (sent === token.value) {
            locked.value = sent ? "refused" : "missing";
            await new Promise<void>((go) => unlock.push(go));
          }
          continue;
        }
        const problem = await refusal(response);
        const after = Number(response.headers.get("Retry-After"));
        if (![429, 503].includes(response.status) || !(after > 0)) throw problem;
        await pause(words(problem), after);
      } catch (error) {
        // Of all errors, fetch and the readers of its answers have this one where the connection fails.
        if (options.signal?.aborted || !(error instanceof TypeError)) throw error;
        if (options.body instanceof File) await requireReadable(options.body);
        await pause("The service cannot be reached", Math.min(8, tries));
      }
    }
  } finally {
    settle(request);
  }
}

function settle(request: object): void {
  if (waits.value.has(request)) waits.value = new Map([...waits.value].filter(([each]) => each !== request));
}

/** A fetch fails as well for a folder, and for a file that was changed or deleted after it was chosen. */
async function requireReadable(file: File): Promise<void> {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Error(`${file.name}: a folder, or changed since it was chosen; expected a file. Folders go to Volumes.`);
  }
}

async function refusal(response: Response): Promise<Problem> {
  try {
    const { title, detail, errors } = await response.json();
    return new Problem(response.status, title, detail, errors);
  } catch {
    return new Problem(response.status, response.statusText || `Status ${response.status}`, "The service gave no reason.");
  }
}

function sleep(seconds: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((go, stop) => {
    const timer = setTimeout(go, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      stop(signal.reason);
    });
  });
}

/** An answer of any kind. */
export function bytes(path: string, options?: RequestInit): Promise<{ headers: Headers; content: ArrayBuffer }> {
  return ask(path, async (response) => ({ headers: response.headers, content: await response.arrayBuffer() }), options);
}

/** Warnings of an answer: each has a header, which a browser joins by commas, and begins with "the". */
export function warnings(headers: Headers): string[] {
  return headers.get("X-Eddylift-Warning")?.split(/, (?=the )/) ?? [];
}

export function json<T>(path: string, options?: RequestInit): Promise<T> {
  return ask(path, (response) => response.json(), options);
}

/** Send JSON, or nothing, by POST. */
export function postJson<T>(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  if (body === undefined) return json(path, { method: "POST", headers });
  headers = { "Content-Type": "application/json", ...headers };
  return json(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Random hexadecimal digits. Only over HTTPS or on the same machine would a browser offer crypto.randomUUID. */
export function hex(digits: number): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(digits)), (byte) => (byte & 15).toString(16)).join("");
}

/** What went wrong, in words. */
export function words(error: unknown): string {
  if (error instanceof Problem) return `${error.title}: ${error.detail}`;
  return error instanceof Error ? error.message : String(error);
}
