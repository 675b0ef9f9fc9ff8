// The frame around the pages: where one is, light and dark, the token, and what the page waits for.
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { give, locked, replaced, token, waiting } from "./api";
import { Jobs } from "./jobs";
import { Models } from "./models";
import { theme, toggle } from "./theme";
import { Try } from "./try";
import { Volumes } from "./volumes";

const PAGES = { try: ["Try", Try], volumes: ["Volumes", Volumes], jobs: ["Jobs", Jobs], models: ["Models", Models] } as const;
type Page = keyof typeof PAGES;

const here = () => (location.hash.slice(2).split("?")[0] || "try") as Page;
const page = signal<Page>(here() in PAGES ? here() : "try");
addEventListener("hashchange", () => (page.value = here() in PAGES ? here() : "try"));

// A browser opens a file that is dropped beside its place, and leaves the page with all that is on it.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

const WHY = {
  missing: "Ask the operator of the service for one (python -m service token makes it).",
  refused: "The service does not know this token. Try another one.",
  another: "Another token may allow more: reading, writing, or everything.",
};

function Token() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    locked.value ? dialog.current!.showModal() : dialog.current!.close();
  }, [locked.value]);
  return (
    <dialog ref={dialog} aria-labelledby="token-title" onClose={() => (locked.value === "another" ? (locked.value = "") : locked.value && dialog.current!.showModal())}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          const field = event.currentTarget.elements.namedItem("token") as HTMLInputElement;
          give(field.value);
          field.value = "";
        }}
      >
        <h2 id="token-title">This service requires a token</h2>
        <p>{locked.value && WHY[locked.value]}</p>
        <input name="token" type="password" aria-label="Token" autocomplete="off" placeholder="eddylift_…" required pattern="\s*[!-~]+\s*" title="ASCII characters without spaces" />
        <button class="main">Use it in this tab</button>
        {locked.value === "another" && (
          <button type="button" onClick={() => (locked.value = "")}>
            Keep the one in use
          </button>
        )}
      </form>
    </dialog>
  );
}

export function App() {
  const [title, Here] = PAGES[page.value];
  useEffect(() => void (document.title = `${title} · eddylift`), [title]);
  return (
    <>
      <header>
        <a class="logo" href="#/try">
          eddylift
        </a>
        <nav aria-label="Pages">
          {(Object.keys(PAGES) as Page[]).map((key) => (
            <a key={key} href={`#/${key}`} aria-current={page.value === key ? "page" : undefined}>
              {PAGES[key][0]}
            </a>
          ))}
          {/* Beside the page, which may hold a field or send a volume. */}
          <a href="/docs" target="_blank" rel="noopener">
            API
          </a>
        </nav>
        {token.value && <button onClick={() => (locked.value = "another")}>Token</button>}
        <button class="theme" aria-label={theme.value === "dark" ? "Light colours" : "Dark colours"} onClick={toggle}>
          {theme.value === "dark" ? "☀" : "☾"}
        </button>
      </header>
      {waiting.value && (
        <p class="note busy away" role="status">
          {waiting.value}
        </p>
      )}
      <main>
        <Here key={replaced.value} />
      </main>
      <Token />
    </>
  );
}
