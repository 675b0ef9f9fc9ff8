// Whole volumes, super-resolved in the background.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { hex, json, postJson, words } from "./api";
import { Alert, Notes, Options, Warnings, duration, format } from "./parts";
import { Metrics } from "./report";
import * as trial from "./trial";
import type { Job, Volume } from "./types";
import { stored } from "./upload";

const jobs = signal<Job[] | null>(null);
const volumes = signal<Volume[]>([]);
/** Why what the user asked for last was refused. */
const refused = signal("");
/** Why the list of jobs is not there. */
const unread = signal("");
const visible = signal(!document.hidden);
document.addEventListener("visibilitychange", () => (visible.value = !document.hidden));

const ENDED = ["done", "failed", "cancelled"];
const EVERY_MS = 2000;
const PAGE = 50;
/** How many of the newest jobs are listed, beside those that have not ended. */
const limit = signal(PAGE);

let asked = 0;

/** Fetch the list; an answer that a later question overtook is left out. */
async function refresh(): Promise<void> {
  const mine = ++asked;
  const found = await json<{ jobs: Job[] }>(`/v1/jobs?limit=${limit.value}`);
  if (mine === asked) jobs.value = found.jobs;
}

async function act(work: Promise<Job>): Promise<void> {
  refused.value = "";
  try {
    await work;
    await refresh();
  } catch (error) {
    refused.value = words(error);
  }
}

/** Fetch the list again and again as long as somebody looks: others submit jobs, too, and several run at a time. */
function useWatch(): void {
  useEffect(() => {
    if (!visible.value) return;
    let timer = 0;
    let left = false;
    const look = async () => {
      await refresh().then(
        () => (unread.value = ""),
        (error) => (unread.value = words(error)),
      );
      if (!left) timer = setTimeout(look, EVERY_MS);
    };
    void look();
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [visible.value, limit.value]);
}

/** The page of the view that a job wrote. */
function view({ source, model, boundary, names, drop }: Job): string {
  const renamed = Object.entries(names).map((pair) => pair.join(":"));
  const said = { volume: source, model, boundary, names: renamed.join(), drop: drop.join() };
  return `#/volumes?${new URLSearchParams(Object.entries(said).filter((entry): entry is [string, string] => Boolean(entry[1])))}`;
}

function Row({ job }: { job: Job }) {
  const discovers = job.task === "discover";
  const share = job.state === "done" ? 1 : job.blocks ? job.blocks_done / job.blocks : 0;
  const title = `${job.source} → ${discovers ? job.reference : (job.target ?? "report only")}`;
  return (
    <li>
      <div class="line">
        <h2>{title}</h2>
        <span class={`state ${job.state}`}>{job.state}</span>
      </div>
      <p>
        <small>
          {discovers ? "symmetries" : job.model} · {new Date(1000 * job.created).toLocaleString()}
        </small>
      </p>
      <progress max={1} value={share} aria-label={`Progress of ${title}`} />
      <p class="line">
        <small>
          {job.blocks === null ? "counting blocks" : `${job.blocks_done} of ${job.blocks} ${discovers ? "steps" : "blocks"}`}
          {job.state === "running" && `, ${job.stage}`}
          {job.voxels_per_second ? ` · ${job.voxels_per_second.toLocaleString("en", { maximumSignificantDigits: 3 })} cells a second` : ""}
          {job.seconds_left ? ` · ${duration(job.seconds_left)} left` : ""}
        </small>
        {job.state === "done" && !discovers && (
          <a href={view(job)} aria-label={`View ${title}`}>
            View
          </a>
        )}
        {ENDED.includes(job.state) ? (
          job.state !== "done" && (
            <button aria-label={`Resume ${title}`} onClick={() => void act(postJson(`/v1/jobs/${job.id}/resume`))}>
              Resume
            </button>
          )
        ) : (
          <button aria-label={`Cancel ${title}`} onClick={() => void act(postJson(`/v1/jobs/${job.id}/cancel`))}>
            Cancel
          </button>
        )}
      </p>
      {/* No alert: it may be of long ago, and of each of many jobs. */}
      {job.detail && <p class="note bad">{job.detail}</p>}
      <Warnings of={job.warnings} />
      {job.report && "verdict" in job.report && <p class="note">{job.report.verdict}</p>}
      {job.report && "metrics" in job.report && (
        <details>
          <summary>
            Mean absolute error / rms <b>{format(job.report.metrics.mae_over_rms as number)}</b>, trilinear {format(job.report.trilinear.mae_over_rms as number)}
          </summary>
          <Metrics report={job.report} />
        </details>
      )}
    </li>
  );
}

const trimmed = (text: string, at: string) => text.split(at).map((part) => part.trim());

function Order() {
  const models = trial.cards.value?.models ?? [];
  return (
    <form
      class="order"
      onSubmit={(event) => {
        event.preventDefault();
        const { names, drop, ...said } = Object.fromEntries([...new FormData(event.currentTarget)].filter(([, value]) => value !== "")) as Record<string, string>;
        const spec = { ...said, names: names && Object.fromEntries(trimmed(names, ",").map((pair) => trimmed(pair, ":"))), drop: drop && trimmed(drop, ",") };
        void act(postJson("/v1/jobs", spec, { "Idempotency-Key": hex(32) }));
      }}
    >
      <label>
        Volume
        <select name="source" required>
          {volumes.value.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <label>
        Model
        <select name="model" value={trial.cards.value?.default ?? undefined}>
          {models.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <label>
        Target
        <input name="target" placeholder="name of the fine volume" required />
      </label>
      <label>
        Compare with
        <select name="reference">
          <option value="">nothing</option>
          {volumes.value.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <Options />
      <button class="main" disabled={!volumes.value.length}>
        Start
      </button>
    </form>
  );
}

export function Jobs() {
  useWatch();
  useEffect(() => {
    Promise.all([stored(), trial.load()]).then(
      ([found]) => (volumes.value = found),
      (error) => (unread.value = words(error)),
    );
  }, []);
  return (
    <div class="jobs">
      <h1>Jobs</h1>
      <p>Super-resolve a whole stored volume into another one. You can cancel and resume a job; no block is computed twice.</p>
      <Notes>
        <Alert of={refused.value || unread.value} />
      </Notes>
      <Order />
      {jobs.value && !volumes.value.length && <p class="why">A job needs a stored volume: upload one under Volumes.</p>}
      {jobs.value?.length === 0 && <p class="why">There are no jobs yet.</p>}
      <ul class="list">
        {jobs.value?.map((job) => (
          <Row key={job.id} job={job} />
        ))}
      </ul>
      {jobs.value && jobs.value.length >= limit.value && <button onClick={() => (limit.value += PAGE)}>Show older jobs</button>}
    </div>
  );
}
