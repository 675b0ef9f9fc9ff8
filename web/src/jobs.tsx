// Whole volumes, super-resolved in the background.
import { computed, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { hex, json, order, watch, words } from "./api";
import { Options, Warnings, duration } from "./parts";
import { Metrics } from "./report";
import { format } from "./slice";
import * as trial from "./trial";
import type { Job, Volume } from "./types";

const jobs = signal<Job[] | null>(null);
const volumes = signal<Volume[]>([]);
const failure = signal("");
const visible = signal(!document.hidden);
document.addEventListener("visibilitychange", () => (visible.value = !document.hidden));

const ENDED = ["done", "failed", "cancelled"];

function put(job: Job): void {
  const list = jobs.value ?? [];
  jobs.value = list.some(({ id }) => id === job.id) ? list.map((each) => (each.id === job.id ? job : each)) : [job, ...list];
}

async function act(work: Promise<Job>): Promise<void> {
  failure.value = "";
  try {
    put(await work);
  } catch (error) {
    failure.value = words(error);
  }
}

async function refresh(): Promise<void> {
  jobs.value = (await json<{ jobs: Job[] }>("/v1/jobs")).jobs;
}

/** The job that runs, or the first that waits: browsers have few connections to a service, so that one is watched at a time. */
const next = computed(() => {
  const open = (jobs.value ?? []).filter(({ state }) => !ENDED.includes(state)).reverse();
  return (open.find(({ state }) => state === "running") ?? open[0])?.id ?? null;
});

/** Watch jobs to their end, one after the other, as long as somebody looks. */
function useWatch(): void {
  const [id, seen] = [next.value, visible.value];
  useEffect(() => {
    if (id === null || !seen) return;
    const controller = new AbortController();
    const isLast = (job: Job) => {
      put(job);
      return ENDED.includes(job.state);
    };
    watch(`/v1/jobs/${id}/events`, controller.signal, isLast)
      .then(refresh)
      .catch((error) => {
        if (!controller.signal.aborted) failure.value = words(error);
      });
    return () => controller.abort();
  }, [id, seen]);
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
        {ENDED.includes(job.state) ? (
          job.state !== "done" && (
            <button aria-label={`Resume ${title}`} onClick={() => void act(order(`/v1/jobs/${job.id}/resume`))}>
              Resume
            </button>
          )
        ) : (
          <button aria-label={`Cancel ${title}`} onClick={() => void act(order(`/v1/jobs/${job.id}/cancel`))}>
            Cancel
          </button>
        )}
      </p>
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

function Order() {
  const models = trial.cards.value?.models ?? [];
  return (
    <form
      class="order"
      onSubmit={(event) => {
        event.preventDefault();
        const { names, drop, ...said } = Object.fromEntries([...new FormData(event.currentTarget)].filter(([, value]) => value !== "")) as Record<string, string>;
        const spec = { ...said, names: names && Object.fromEntries(names.split(",").map((pair) => pair.split(":"))), drop: drop?.split(",") };
        void act(order("/v1/jobs", spec, { "Idempotency-Key": hex(32) }));
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
    failure.value = "";
    Promise.all([
      refresh(),
      json<{ volumes: Volume[] }>("/v1/volumes").then((found) => (volumes.value = found.volumes)),
      trial.load(),
    ]).catch((error) => (failure.value = words(error)));
  }, []);
  return (
    <div class="jobs">
      <h1>Jobs</h1>
      <p>Super-resolve a whole stored volume into another one. You can cancel and resume a job; no block is computed twice.</p>
      {failure.value && (
        <p class="note bad" role="alert">
          {failure.value}
        </p>
      )}
      <Order />
      {jobs.value?.length === 0 && <p class="why">There are no jobs yet.</p>}
      <ul class="list">
        {jobs.value?.map((job) => (
          <Row key={job.id} job={job} />
        ))}
      </ul>
    </div>
  );
}
