// Stored volumes, and views of them.
import { signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { bytes, words } from "./api";
import { Alert, Drop, Notes, Options, reveal, size } from "./parts";
import * as trial from "./trial";
import type { Volume } from "./types";
import { nameOf, send, stored, walk, type Part } from "./upload";
import { Viewer } from "./viewer";

const volumes = signal<Volume[] | null>(null);
const opened = signal("");
/** The model of views, and options. */
const said = signal<Record<string, string>>({});
/** How far each upload is, in words. */
const sending = signal<ReadonlyMap<object, string>>(new Map());
/** What went wrong of what was asked for last. */
const failures = signal<string[]>([]);
/** Why the lists are not there. */
const unread = signal("");
addEventListener("beforeunload", (event) => {
  if (sending.value.size) event.preventDefault();
});

/** A link names the view that was opened: #/volumes?volume=...&model=...&boundary=... */
function follow(): void {
  const { volume, ...options } = Object.fromEntries(new URLSearchParams(location.hash.split("?")[1]));
  if (!volume) return;
  opened.value = volume;
  said.value = options;
}
follow();
addEventListener("hashchange", follow);

async function refresh(): Promise<void> {
  volumes.value = await stored();
}

/** Do something that the user asks for, and tell what goes wrong. */
async function act(work: () => Promise<unknown>): Promise<void> {
  failures.value = [];
  try {
    await work();
  } catch (error) {
    failures.value = [...failures.value, words(error)];
  }
}

/** Store the folder of a Zarr group as a volume of its name. */
async function store(folder: string, parts: Part[]): Promise<void> {
  const name = nameOf(folder);
  await refresh();
  const replace = volumes.value!.some((volume) => volume.name === name);
  if (replace && !confirm(`There is a volume ${name} already. Replace it?`)) return;
  try {
    await send(name, parts, replace, (done, all) => (sending.value = new Map([...sending.value, [parts, `Sending ${name}: ${done} of ${all} files`]])));
  } catch (error) {
    throw new Error(`${name}: ${words(error)}`);
  } finally {
    sending.value = new Map([...sending.value].filter(([each]) => each !== parts));
  }
  await refresh();
}

function take(transfer: DataTransfer): void {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry());
  for (const entry of entries)
    void act(async () => {
      if (!entry?.isDirectory) throw new Error(`${entry?.name ?? "What was dropped"} is no folder of a Zarr group. For a single file, use Try.`);
      await store(entry.name, await walk(entry));
    });
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
  /** Each click opens a view anew: its volume or model may have changed. */
  const clicks = useSignal(0);
  const place = useRef<HTMLElement>(null);
  useEffect(() => {
    if (clicks.value) reveal(place.current);
  }, [clicks.value]);
  useEffect(() => {
    Promise.all([refresh(), trial.load()]).then(
      () => (unread.value = ""),
      (error) => (unread.value = words(error)),
    );
  }, []);
  const models = trial.cards.value?.models ?? [];
  const chosen = said.value.model || trial.cards.value?.default || models[0]?.name || "";
  const card = models.find((each) => each.name === chosen);
  const options = Object.entries({ ...said.value, model: "", error: card?.uncertainty.quantiles ? "true" : "" }).filter(([, value]) => value);
  useEffect(() => {
    const link = Object.entries({ volume: opened.value, ...said.value, model: chosen }).filter(([, value]) => value);
    history.replaceState(null, "", opened.value ? `#/volumes?${new URLSearchParams(link)}` : "#/volumes");
  }, [opened.value, said.value, chosen]);
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
      <Notes>
        {[...failures.value, unread.value].map((failure) => (
          <Alert of={failure} />
        ))}
        {[...sending.value.values()].map((status) => (
          <p class="note busy" role="status">
            {status}
          </p>
        ))}
      </Notes>
      {opened.value && trial.cards.value && (
        <section ref={place} tabIndex={-1} aria-label={`View of ${opened.value}`}>
          <h2>
            {opened.value}, by {chosen}
          </h2>
          <Viewer key={`${clicks.value}/${opened.value}/${viewed}`} volume={opened.value} model={viewed} />
        </section>
      )}
      <Upload />
      {volumes.value?.length === 0 && (
        <p class="why">
          No volume is stored here yet. Files of other kinds are stored from the command line: <code>eddylift upload FILE NAME</code>.
        </p>
      )}
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
                <small>{volume.boundary ? `boundary ${volume.boundary.join(", ")}` : "no boundary given: that of the model, else periodic"}</small>
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
