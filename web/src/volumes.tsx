// Stored volumes, and views of them.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { bytes, json, words } from "./api";
import { Drop, size } from "./parts";
import * as trial from "./trial";
import type { Volume } from "./types";
import { Viewer } from "./viewer";

const volumes = signal<Volume[] | null>(null);
const opened = signal("");
const model = signal("");
const status = signal("");
const failure = signal("");

async function refresh(): Promise<void> {
  volumes.value = (await json<{ volumes: Volume[] }>("/v1/volumes")).volumes;
}

function report(error: unknown): void {
  failure.value = words(error);
  status.value = "";
}

/** Send the files of a Zarr group; what describes it goes last, so that the volume is seen when it is whole. */
async function send(name: string, files: { key: string; file: File }[]): Promise<void> {
  failure.value = "";
  if (!files.some(({ key }) => key === "zarr.json" || key === ".zgroup")) throw new Error(`${name} is not a Zarr group: it has neither zarr.json nor .zgroup.`);
  const last = (key: string) => Number(/^(zarr\.json|\.z.*)$/.test(key));
  files.sort((a, b) => last(a.key) - last(b.key));
  let done = 0;
  const next = files.values();
  const worker = async () => {
    for (const { key, file } of next) {
      const path = key.split("/").map(encodeURIComponent).join("/");
      await bytes(`/v1/volumes/${encodeURIComponent(name)}/${path}`, { method: "PUT", body: file });
      status.value = `Sending ${name}: ${++done} of ${files.length} files`;
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  status.value = "";
  await refresh();
}

/** All files below an entry that was dropped. */
async function walk(entry: FileSystemEntry, path = ""): Promise<{ key: string; file: File }[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((go, stop) => (entry as FileSystemFileEntry).file(go, stop));
    return [{ key: path, file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((go, stop) => reader.readEntries(go, stop));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map((each) => walk(each, path ? `${path}/${each.name}` : each.name)))).flat();
}

/** A name that the service takes. */
const nameOf = (folder: string) => folder.replace(/\.zarr$/, "").replace(/[^\w.-]+/g, "-");

function take(transfer: DataTransfer): void {
  const entry = transfer.items[0]?.webkitGetAsEntry();
  if (entry?.isDirectory) walk(entry).then((files) => send(nameOf(entry.name), files)).catch(report);
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
        send(nameOf(root), list.map((file) => ({ key: file.webkitRelativePath.slice(root.length + 1), file }))).catch(report);
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
    Promise.all([refresh(), trial.load()]).catch(report);
  }, []);
  const models = trial.cards.value?.models ?? [];
  const chosen = model.value || trial.cards.value?.default || models[0]?.name || "";
  const card = models.find((each) => each.name === chosen);
  const viewed = chosen + (card?.uncertainty.quantiles ? ";error=true" : "");
  return (
    <div class="volumes">
      <div class="top">
        <h1>Volumes and views</h1>
        <label>
          Model{" "}
          <select aria-label="Model of views" value={chosen} onChange={(event) => (model.value = event.currentTarget.value)}>
            {models.map((each) => (
              <option key={each.name}>{each.name}</option>
            ))}
          </select>
        </label>
      </div>
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
      {opened.value && <Viewer key={`${opened.value}/${viewed}`} volume={opened.value} model={viewed} />}
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
              <button class="main" disabled={Boolean(volume.problem)} aria-label={`View ×${card?.factor}: ${volume.name}`} onClick={() => (opened.value = volume.name)}>
                View ×{card?.factor}
              </button>
              <button aria-label={`Delete ${volume.name}`} onClick={() => void drop(volume.name).catch(report)}>
                Delete
              </button>
            </div>
          </li>
        ))}
      </ul>
    </div>
  );
}
