// Whole volumes, super-resolved in the background.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { events, json, order, words } from "./api";
import { duration } from "./parts";
import { format } from "./slice";
import * as trial from "./trial";
import type { Job, Volume } from "./types";

const jobs = signal<Job[] | null>(null);
const volumes = signal<Volume[]>([]);
const failure = signal("");

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

/** Follow a job to its end. */
function useEvents({ id, state }: Job): void {
  const ended = ENDED.includes(state);
  useEffect(() => {
    if (ended) return;
    const controller = new AbortController();
    (async () => {
      try {
        for await (const job of events<Job>(`/v1/jobs/${id}/events`, controller.signal)) put(job);
      } catch (error) {
        if (!controller.signal.aborted) failure.value = words(error);
      }
    })();
    return () => controller.abort();
  }, [id, ended]);
}

function Row({ job }: { job: Job }) {
  useEvents(job);
  const share = job.state === "done" ? 1 : job.blocks ? job.blocks_done / job.blocks : 0;
  return (
    <li>
      <div class="line">
        <h2>
          {job.source} → {job.target ?? "report alone"}
        </h2>
        <span class={`state ${job.state}`}>{job.state}</span>
      </div>
      <p>
        <small>
          {job.model} · {new Date(1000 * job.created).toLocaleString()}
        </small>
      </p>
      <progress max={1} value={share} aria-label={`Progress of ${job.source}`} />
      <p class="line">
        <small>
          {job.blocks === null ? "counting blocks" : `${job.blocks_done} of ${job.blocks} blocks`}
          {job.state === "running" && `, ${job.stage}`}
          {job.voxels_per_second ? ` · ${format(job.voxels_per_second / 1e6)} million cells a second` : ""}
          {job.seconds_left ? ` · ${duration(job.seconds_left)} left` : ""}
        </small>
        {ENDED.includes(job.state) ? (
          job.state !== "done" && <button onClick={() => void act(order(`/v1/jobs/${job.id}/resume`))}>Resume</button>
        ) : (
          <button onClick={() => void act(order(`/v1/jobs/${job.id}/cancel`))}>Cancel</button>
        )}
      </p>
      {job.detail && <p class="note bad">{job.detail}</p>}
      {job.warnings.map((warning) => (
        <p key={warning} class="note warn">
          {warning}
        </p>
      ))}
      {job.report && (
        <p>
          mean absolute error / rms: <b>{format(job.report.metrics.mae_over_rms as number)}</b>, by trilinear {format(job.report.trilinear.mae_over_rms as number)}
        </p>
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
        const said = Object.fromEntries([...new FormData(event.currentTarget)].filter(([, value]) => value !== ""));
        void act(order("/v1/jobs", said, { "Idempotency-Key": crypto.randomUUID() }));
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
        Into
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
      <button class="main" disabled={!volumes.value.length}>
        Start
      </button>
    </form>
  );
}

export function Jobs() {
  useEffect(() => {
    Promise.all([
      json<{ jobs: Job[] }>("/v1/jobs").then((found) => (jobs.value = found.jobs)),
      json<{ volumes: Volume[] }>("/v1/volumes").then((found) => (volumes.value = found.volumes)),
      trial.load(),
    ]).catch((error) => (failure.value = words(error)));
  }, []);
  return (
    <div class="jobs">
      <h1>Jobs</h1>
      <p>Super-resolve a stored volume whole, into another one. A job can be cancelled and resumed; nothing is computed twice.</p>
      {failure.value && (
        <p class="note bad" role="alert">
          {failure.value}
        </p>
      )}
      <Order />
      {jobs.value?.length === 0 && <p class="why">No job has been ordered here yet.</p>}
      <ul class="list">
        {jobs.value?.map((job) => (
          <Row key={job.id} job={job} />
        ))}
      </ul>
    </div>
  );
}
