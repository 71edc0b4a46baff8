// Following the end of a log: asks for what was appended since, and for nothing else.

import { isPassing } from "../api/queries";
import { END_WINDOWS, type Fetch, type LineStore } from "./store";

const WAIT_SECONDS = 25;
/** A tab that nobody looks at asks less often. */
const HIDDEN_PAUSE_MS = 15_000;
const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 15_000;

/** Ends early when the signal aborts, somebody looks at the tab again, or the network is back. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      document.removeEventListener("visibilitychange", woken);
      window.removeEventListener("online", done);
      resolve();
    };
    const woken = (): void => {
      if (!document.hidden) done();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
    document.addEventListener("visibilitychange", woken);
    window.addEventListener("online", done);
  });
}

function pauseAfter(failures: number): number {
  return Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);
}

/** Asks until there is an answer. failed: told what went wrong, and null when all is well again. */
export function patient(fetch: Fetch, failed: (error: unknown) => void): Fetch {
  return async (parameters, signal) => {
    for (let failures = 1; ; failures++) {
      try {
        const chunk = await fetch(parameters, signal);
        if (failures > 1) failed(null);
        return chunk;
      } catch (error) {
        if (signal.aborted || !isPassing(error)) throw error;
        failed(error);
        await pause(pauseAfter(failures), signal);
        if (signal.aborted) throw error;
      }
    }
  };
}

/**
 * Appends to the store until the log is completed and all of it is here, or the signal aborts. Where the network is
 * gone it tries again, at the same offset. offline: told true when that happens and false when it is back.
 */
export async function follow(
  store: LineStore,
  fetch: Fetch,
  signal: AbortSignal,
  offline: (gone: boolean) => void,
): Promise<void> {
  let failures = 0;
  let behind = 0;
  while (!signal.aborted) {
    try {
      // Once it was gone, whether the leader is back is to be known at once.
      const wait = document.hidden || failures > 0 ? 0 : WAIT_SECONDS;
      const chunk = await fetch({ ...store.poll, wait }, signal);
      if (signal.aborted) return;
      if (failures > 0) offline(false);
      failures = 0;
      store.append(chunk);
      if (chunk.state === "completed" && chunk.next_offset === chunk.offset) return;
      if (document.hidden && chunk.data_base64 === "") await pause(HIDDEN_PAUSE_MS, signal);
      // The leader says how often it wants to be asked.
      else if (chunk.poll_after_ms > 0) await pause(chunk.poll_after_ms, signal);
      behind = store.behind(chunk) ? behind + 1 : 0;
      // Nobody reads so fast: the end is shown, and not all that passes.
      if (behind >= END_WINDOWS && !signal.aborted) {
        behind = 0;
        await store.skipToEnd(signal);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isPassing(error)) throw error;
      failures++;
      offline(true);
      await pause(pauseAfter(failures), signal);
    }
  }
}
