// Which lines a stream wrote: asked of the leader, which looks through the whole log.

import { useEffect, useState } from "react";
import { type LogId, logPath, type SearchReport, streamJson } from "../api/client";
import { isPassing } from "../api/queries";
import { pause } from "./follow";
import type { StreamName } from "./lines";
import type { LineStore } from "./store";

const AGAIN_MS = 2_000;
const HITS_AT_ONCE = 10_000;
/** More lines than this are not told apart. */
export const MAX_LINES = 200_000;

export interface StreamLines {
  lines: readonly number[];
  /** All of what was written so far was looked at. */
  upToDate: boolean;
  /** There are more lines than MAX_LINES. */
  cut: boolean;
  error: unknown;
}

const nothing: StreamLines = { lines: [], upToDate: false, cut: false, error: null };

/** The lines of a stream, in order, of a live log those of what is appended too; stream null: none, and nothing asked. */
export function useStream(id: LogId, stream: StreamName | null, store: LineStore, ready: boolean): StreamLines {
  const [state, setState] = useState(nothing);
  const path = `${logPath(id)}/search`;
  useEffect(() => {
    setState(nothing);
    if (stream === null || !ready) return;
    const abort = new AbortController();
    let from = 0;
    let count = 0;
    const look = async (): Promise<void> => {
      const asked = { q: "^", regex: true, stream, from_offset: from, max_hits: HITS_AT_ONCE, max_seconds: 600 };
      for await (const report of streamJson<SearchReport>(path, asked, abort.signal)) {
        const lines = report.hits.map((hit) => hit.line.line);
        count += lines.length;
        from = Math.max(from, report.at);
        if (lines.length > 0) setState((before) => ({ ...before, lines: joined(before.lines, lines) }));
      }
    };
    const run = async (): Promise<void> => {
      while (!abort.signal.aborted && count < MAX_LINES) {
        const { completed, nextOffset } = store.place;
        const before = from;
        try {
          if (from < nextOffset) await look();
        } catch (error) {
          if (abort.signal.aborted || !isPassing(error)) throw error;
          setState((now) => ({ ...now, error }));
          await pause(AGAIN_MS, abort.signal);
          continue;
        }
        const done = from >= nextOffset || from === before;
        setState((now) => ({ ...now, upToDate: done, error: null }));
        if (done && completed) return;
        if (done) await pause(AGAIN_MS, abort.signal);
      }
      if (!abort.signal.aborted) setState((now) => ({ ...now, upToDate: true, cut: true }));
    };
    run().catch((error: unknown) => {
      if (!abort.signal.aborted) setState((now) => ({ ...now, error }));
    });
    return () => abort.abort();
  }, [path, stream, store, ready]);
  return state;
}

/** A line that was not whole when it was looked at may be found again. */
function joined(before: readonly number[], found: readonly number[]): number[] {
  const last = before.at(-1) ?? 0;
  return [...before, ...found.filter((line) => line > last)];
}
