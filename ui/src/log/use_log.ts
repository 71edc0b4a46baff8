// Everything about the log that a page shows: its record, its lines, its marks, and whether the leader answers.

import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import {
  type FoundMark,
  getJson,
  type Log,
  type LogEvent,
  type LogId,
  logPath,
  type MarksReport,
  type Schemas,
  streamJson,
} from "../api/client";
import { follow } from "./follow";
import { mergedEvents } from "./notes";
import { type Fetch, fetchOf, LineStore } from "./store";

const RECORD_MS = 5_000;
const MARKS_MS = 5_000;

export interface OpenLog {
  log: Log | undefined;
  error: unknown;
  store: LineStore;
  fetch: Fetch;
  events: readonly LogEvent[];
  /** The end is here: lines can be counted. */
  ready: boolean;
  offline: boolean;
  marks: readonly FoundMark[];
}

/** first: the line that is looked at first, if it is known; it is asked for together with everything else. */
export function useLog(id: LogId, first: number): OpenLog {
  const key = logPath(id);
  const record = useQuery({
    queryKey: ["log", key],
    queryFn: ({ signal }) => getJson<Log>(key, {}, signal),
    refetchInterval: (query) => (query.state.data?.state === "completed" ? false : RECORD_MS),
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says all of the id
  const fetch = useMemo(() => fetchOf(id), [key]);
  const store = useMemo(() => new LineStore(fetch), [fetch]);
  const begin = useRef(first);
  const [ready, setReady] = useState(false);
  const [offline, setOffline] = useState(false);
  const [error, setError] = useState<unknown>(null);
  useSyncExternalStore(store.subscribe, store.snapshot);

  useEffect(() => {
    const abort = new AbortController();
    setReady(false);
    setError(null);
    void store.load(begin.current);
    const run = async (): Promise<void> => {
      await store.loadEnd(abort.signal);
      setReady(true);
      await follow(store, fetch, abort.signal, setOffline);
    };
    run().catch((caught: unknown) => {
      if (!abort.signal.aborted) setError(caught);
    });
    return () => abort.abort();
  }, [store, fetch]);

  const marks = useMarks(id, key, store, ready);
  const said = useQuery({
    queryKey: ["events", key],
    queryFn: ({ signal }) => getJson<Schemas["Events"]>(`${key}/events`, {}, signal),
    staleTime: Number.POSITIVE_INFINITY,
    enabled: ready,
  });
  const events = useMemo(() => mergedEvents(said.data?.events ?? [], store.events), [said.data, store.events]);
  return { log: record.data, error: error ?? record.error, store, fetch, events, ready, offline, marks };
}

/** Marks as they are found; of a live log, of what was appended too. */
function useMarks(id: LogId, key: string, store: LineStore, ready: boolean): readonly FoundMark[] {
  const [marks, setMarks] = useState<readonly FoundMark[]>([]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says all of the id
  useEffect(() => {
    if (!ready) return;
    const abort = new AbortController();
    setMarks([]);
    const run = async (): Promise<void> => {
      let from = 0;
      while (!abort.signal.aborted) {
        const completed = store.place.completed;
        const length = store.place.nextOffset;
        if (from < length) from = await look(from);
        if (completed && from >= length) return;
        await new Promise((resolve) => setTimeout(resolve, MARKS_MS));
      }
    };
    const look = async (from: number): Promise<number> => {
      let at = from;
      for await (const report of streamJson<MarksReport>(`${logPath(id)}/marks`, { from_offset: from }, abort.signal)) {
        if (report.at > at) at = report.at;
        if (report.marks.length > 0) setMarks((before) => merged(before, report.marks));
        if (report.stopped) return Number.POSITIVE_INFINITY;
      }
      return at;
    };
    // A log without marks is a log all the same.
    run().catch(() => {});
    return () => abort.abort();
  }, [key, store, ready]);
  return marks;
}

/** A line that was not whole when it was looked at may be found again. */
function merged(before: readonly FoundMark[], found: readonly FoundMark[]): FoundMark[] {
  const first = found[0]?.line ?? Number.POSITIVE_INFINITY;
  return [...before.filter((mark) => mark.line < first), ...found];
}
