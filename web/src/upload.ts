// The folder of a Zarr group, sent as a volume, which appears when all of it is there.
import { bytes, hex, json, postJson } from "./api";
import { each } from "./each";
import type { Volume } from "./types";

export interface Part {
  key: string;
  file: File;
}

/** Documents and chunks of Zarr v2 and v3 (0.1.2, 0/1/2, c/0/1/2, c), in no hidden folder: desktops leave files of their own. */
const MEMBER = /^(?:[^./][^/]*\/)*(?:zarr\.json|\.z(?:group|array|attrs|metadata)|c|(?:c[./])?\d+(?:[./]\d+)*)$/;
const DOCUMENT = /(?:^|\/)(?:zarr\.json|\.z\w+)$/;
/** The name of a volume until all of it is sent. */
const DRAFT = /\.part-[0-9a-f]{12}$/;
const AT_A_TIME = 4;

/** The volumes that are stored; not those that somebody is sending. */
export async function stored(): Promise<Volume[]> {
  const { volumes } = await json<{ volumes: Volume[] }>("/v1/volumes");
  return volumes.filter(({ name }) => !DRAFT.test(name));
}

/** A name that the service takes. */
export const nameOf = (folder: string) => folder.replace(/\.zarr$/, "").replace(/[^\w.-]+/g, "-").slice(0, 100);

/**
 * Send a group under a name of its own, and then give it its name; `tell` hears of each file. The largest is sent first, so that one
 * that is too large is refused at once; documents come last.
 */
export async function send(name: string, parts: Part[], replace: boolean, tell: (done: number, all: number) => void): Promise<void> {
  const members = parts.filter(({ key }) => MEMBER.test(key)).sort((a, b) => b.file.size - a.file.size);
  if (!members.some(({ key }) => key === "zarr.json" || key === ".zgroup")) throw new Error(`not a Zarr group: it has neither zarr.json nor .zgroup.`);
  const draft = `/v1/volumes/${encodeURIComponent(`${name.slice(0, 80)}.part-${hex(12)}`)}`;
  let done = 0;
  // None is broken off: the service might store it after the draft was dropped.
  const put = async ({ key, file }: Part) => {
    await bytes(`${draft}/${key.split("/").map(encodeURIComponent).join("/")}`, { method: "PUT", body: file });
    tell(++done, members.length);
  };
  const isDocument = ({ key }: Part) => DOCUMENT.test(key);
  try {
    await each(members.filter((part) => !isDocument(part)), AT_A_TIME, put);
    await each(members.filter(isDocument), AT_A_TIME, put);
    await postJson(`${draft}/rename`, { to: name, replace });
  } catch (error) {
    await bytes(draft, { method: "DELETE" }).catch(() => null);
    throw error;
  }
}

/** All files below an entry that was dropped. */
export async function walk(entry: FileSystemEntry, path = ""): Promise<Part[]> {
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
