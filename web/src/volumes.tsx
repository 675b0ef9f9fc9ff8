// Stored volumes, and views of them.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { bytes, json, words } from "./api";
import { Drop, Options, size } from "./parts";
import * as trial from "./trial";
import type { Volume } from "./types";
import { nameOf, send, walk, type Part } from "./upload";
import { Viewer } from "./viewer";

const volumes = signal<Volume[] | null>(null);
const opened = signal("");
/** Each click opens a view anew: its volume or model may have changed. */
const clicks = signal(0);
/** The model of views, and options. */
const said = signal<Record<string, string>>({});
const status = signal("");
const failure = signal("");

async function refresh(): Promise<void> {
  volumes.value = (await json<{ volumes: Volume[] }>("/v1/volumes")).volumes;
}

/** Do something, and tell what goes wrong. */
async function act(work: () => Promise<unknown>): Promise<void> {
  failure.value = "";
  try {
    await work();
  } catch (error) {
    failure.value = words(error);
  }
}

/** Store the folder of a Zarr group as a volume of its name. */
async function store(folder: string, parts: Part[]): Promise<void> {
  const name = nameOf(folder);
  await refresh();
  const replace = volumes.value!.some((volume) => volume.name === name);
  if (replace && !confirm(`There is a volume ${name} already. Replace it?`)) return;
  try {
    await send(name, parts, replace, (done, all) => (status.value = `Sending ${name}: ${done} of ${all} files`));
  } finally {
    status.value = "";
  }
  await refresh();
}

function take(transfer: DataTransfer): void {
  const entry = transfer.items[0]?.webkitGetAsEntry();
  if (entry?.isDirectory) void act(async () => store(entry.name, await walk(entry)));
  else failure.value = "Drop the folder of a Zarr group. For a single file, use Try.";
}

function Upload() {
  return (
    <Drop
      label="Drop the folder of a Zarr group, or choose one"
      about="variables u, v, w over z, y, x; of any size"
      kind="wide"
      onTransfer={take}
      webkitdirectory
      onChange={(event) => {
        const list = [...(event.currentTarget.files ?? [])];
        if (!list.length) return;
        const root = list[0]!.webkitRelativePath.split("/")[0]!;
        const parts = list.map((file) => ({ key: file.webkitRelativePath.slice(root.length + 1), file }));
        void act(() => store(root, parts));
        event.currentTarget.value = "";
      }}
    />
  );
}

async function drop(name: string): Promise<void> {
  if (!confirm(`Delete the volume ${name} from the service?`)) return;
  await bytes(`/v1/volumes/${encodeURIComponent(name)}`, { method: "DELETE" });
  if (opened.value === name) opened.value = "";
  await refresh();
}

export function Volumes() {
  useEffect(() => {
    void act(() => Promise.all([refresh(), trial.load()]));
  }, []);
  const models = trial.cards.value?.models ?? [];
  const chosen = said.value.model || trial.cards.value?.default || models[0]?.name || "";
  const card = models.find((each) => each.name === chosen);
  const options = Object.entries({ ...said.value, model: "", error: card?.uncertainty.quantiles ? "true" : "" }).filter(([, value]) => value);
  const viewed = [chosen, ...options.map(([name, value]) => `${name}=${value}`)].join(";");
  return (
    <div class="volumes">
      <h1>Volumes and views</h1>
      <form
        class="order"
        onSubmit={(event) => event.preventDefault()}
        onChange={(event) => (said.value = Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>)}
      >
        <label>
          Model
          <select name="model" aria-label="Model of views" value={chosen}>
            {models.map((each) => (
              <option key={each.name}>{each.name}</option>
            ))}
          </select>
        </label>
        <Options said={said.value} />
      </form>
      {failure.value && (
        <p class="note bad" role="alert">
          {failure.value}
        </p>
      )}
      {status.value && (
        <p class="note busy" role="status">
          {status.value}
        </p>
      )}
      {opened.value && <Viewer key={`${clicks.value}/${viewed}`} volume={opened.value} model={viewed} />}
      <Upload />
      {volumes.value?.length === 0 && <p class="why">No volume is stored here yet.</p>}
      <ul class="cards">
        {volumes.value?.map((volume) => (
          <li key={volume.name} class={opened.value === volume.name ? "on" : ""}>
            <h2>{volume.name}</h2>
            {volume.problem ? (
              <p class="note warn">{volume.problem}</p>
            ) : (
              <p>
                {volume.cells?.join(" × ")} cells{volume.levels ? `, ${volume.levels} times` : ""} · {size(volume.bytes)}
                <br />
                <small>{volume.boundary ? `boundary ${volume.boundary.join(", ")}` : "no boundary given"}</small>
              </p>
            )}
            <div class="actions">
              <button
                class="main"
                aria-label={`View ×${card?.factor}: ${volume.name}`}
                onClick={() => {
                  opened.value = volume.name;
                  clicks.value++;
                }}
              >
                View ×{card?.factor}
              </button>
              <button aria-label={`Delete ${volume.name}`} onClick={() => void act(() => drop(volume.name))}>
                Delete
              </button>
            </div>
          </li>
        ))}
      </ul>
    </div>
  );
}
