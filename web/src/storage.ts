// What a browser keeps of the page: nothing where it blocks the data of sites.
type Kind = "localStorage" | "sessionStorage";

export function recall(kind: Kind, key: string): string | null {
  try {
    return window[kind].getItem(key);
  } catch {
    return null;
  }
}

export function keep(kind: Kind, key: string, value: string): void {
  try {
    window[kind].setItem(key, value);
  } catch {
    // It holds until the page is left.
  }
}
