// A search that runs: hits as they come in, how far it is, and how it ended.

import { useCallback, useEffect, useRef, useState } from "react";
import { type FoundHit, type Parameters, type SearchReport, streamJson } from "../api/client";

/** A hit with the log that it is in. */
export interface Found {
  id: { namespace: string; run: string; task: string; attempt: number };
  hit: FoundHit;
}

export interface SearchState {
  found: readonly Found[];
  running: boolean;
  /** Of the log that is searched right now. */
  at: number;
  length: number;
  logs: number;
  runs: number;
  /** Runs to search; 0: not known yet. */
  runsTotal: number;
  bytes: number;
  /** Why it has ended before its end: hits, time, you; "" if it has not. */
  stopped: string;
  error: unknown;
}

const nothing: SearchState = {
  found: [],
  running: false,
  at: 0,
  length: 0,
  logs: 0,
  runs: 0,
  runsTotal: 0,
  bytes: 0,
  stopped: "",
  error: null,
};

export function useSearch(path: string): {
  state: SearchState;
  start: (asked: Parameters) => void;
  /** Searches on, behind what was searched: hits are added to those that are there. */
  goOn: (asked: Parameters) => void;
  stop: () => void;
  clear: () => void;
} {
  const [state, setState] = useState(nothing);
  const running = useRef<AbortController | null>(null);
  const stop = useCallback(() => {
    running.current?.abort();
    running.current = null;
    setState((before) => (before.running ? { ...before, running: false, stopped: "you" } : before));
  }, []);
  const clear = useCallback(() => {
    running.current?.abort();
    running.current = null;
    setState(nothing);
  }, []);
  const search = useCallback(
    (asked: Parameters, further: boolean) => {
      running.current?.abort();
      const abort = new AbortController();
      running.current = abort;
      setState((before) => (further ? { ...before, running: true } : { ...nothing, running: true }));
      let bytes = 0;
      const run = async (): Promise<void> => {
        for await (const report of streamJson<SearchReport>(path, asked, abort.signal)) {
          if (abort.signal.aborted) return;
          const { namespace, run: of, task, attempt } = report;
          const id = { namespace, run: of, task, attempt };
          const more = further ? report.bytes_done - bytes : 0;
          bytes = report.bytes_done;
          setState((before) => ({
            ...before,
            found: added(before.found, report.hits, id, further),
            at: report.done ? before.at : report.at,
            length: report.done ? before.length : report.length,
            logs: report.logs_done,
            runs: report.runs_done,
            runsTotal: report.runs_total,
            bytes: further ? before.bytes + more : report.bytes_done,
            stopped: report.stopped,
          }));
        }
      };
      run()
        .catch((error: unknown) => {
          if (!abort.signal.aborted) setState((before) => ({ ...before, error }));
        })
        .finally(() => {
          if (!abort.signal.aborted) setState((before) => ({ ...before, running: false }));
        });
    },
    [path],
  );
  const start = useCallback((asked: Parameters) => search(asked, false), [search]);
  const goOn = useCallback((asked: Parameters) => search(asked, true), [search]);
  useEffect(() => () => running.current?.abort(), []);
  return { state, start, goOn, stop, clear };
}

/** A line that was not whole when it was searched may be found again. */
function added(found: readonly Found[], hits: readonly FoundHit[], id: Found["id"], further: boolean) {
  if (hits.length === 0) return found;
  const last = further ? (found.at(-1)?.hit.line.line ?? 0) : 0;
  return [...found, ...hits.filter((hit) => hit.line.line > last).map((hit) => ({ id, hit }))];
}
