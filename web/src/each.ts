/** Do something with each, a few at a time; the first failure stops all, and is thrown once they have stopped. */
export async function each<T>(list: T[], atATime: number, work: (one: T, signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const { signal } = controller;
  const next = list.values();
  const worker = async () => {
    for (const one of next) {
      if (signal.aborted) return;
      await work(one, signal).catch((error) => controller.abort(error));
    }
  };
  await Promise.all(Array.from({ length: atATime }, worker));
  signal.throwIfAborted();
}
