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
import { every, isPassing, useFailure } from "../api/queries";
import { follow, patient, pause } from "./follow";
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
  /** Since when the leader does not answer, in milliseconds; null: it does. */
  goneAt: number | null;
  marks: readonly FoundMark[];
}

/** first: the line that is looked at first, if it is known; it is asked for together with everything else. */
export function useLog(id: LogId, first: number): OpenLog {
  const key = logPath(id);
  const record = useQuery({
    queryKey: ["log", key],
    queryFn: ({ signal }) => getJson<Log>(key, {}, signal),
    refetchInterval: (query) => every(query.state.data?.state === "completed" ? false : RECORD_MS)(query),
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says all of the id
  const fetch = useMemo(() => fetchOf(id), [key]);
  const store = useMemo(() => new LineStore(fetch), [fetch]);
  const begin = useRef(first);
  const [ready, setReady] = useState(false);
  const [goneAt, setGoneAt] = useState<number | null>(null);
  const [error, setError] = useState<unknown>(null);
  useSyncExternalStore(store.subscribe, store.snapshot);

  useEffect(() => {
    const abort = new AbortController();
    setReady(false);
    setError(null);
    void store.load(begin.current);
    const run = async (): Promise<void> => {
      await store.loadEnd(abort.signal, patient(fetch, setError));
      setReady(true);
      await follow(store, fetch, abort.signal, (gone) => setGoneAt((at) => (gone ? (at ?? Date.now()) : null)));
    };
    run().catch((caught: unknown) => {
      if (!abort.signal.aborted) setError(caught);
    });
    return () => abort.abort();
  }, [store, fetch]);

  // Of a completed log nothing is asked for until it is looked at.
  const stuck = isPassing(store.error);
  useEffect(() => {
    if (store.place.completed) setGoneAt((at) => (stuck ? (at ?? Date.now()) : null));
  }, [stuck, store]);

  const marks = useMarks(id, key, store, ready);
  const said = useQuery({
    queryKey: ["events", key],
    queryFn: ({ signal }) => getJson<Schemas["Events"]>(`${key}/events`, {}, signal),
    staleTime: Number.POSITIVE_INFINITY,
    enabled: ready,
  });
  const events = useMemo(() => mergedEvents(said.data?.events ?? [], store.events), [said.data, store.events]);
  // What is known of the log stays true as far as it goes; whether the leader answers its lines tell.
  const unknown = useFailure(record);
  return {
    log: record.data,
    error: error ?? (record.data === undefined ? unknown : null),
    store,
    fetch,
    events,
    ready,
    goneAt,
    marks,
  };
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
        try {
          if (from < length) from = await look(from);
          if (completed && from >= length) return;
        } catch (error) {
          // A log without marks is a log all the same.
          if (abort.signal.aborted || !isPassing(error)) return;
        }
        await pause(MARKS_MS, abort.signal);
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
    void run();
    return () => abort.abort();
  }, [key, store, ready]);
  return marks;
}

/** A line that was not whole when it was looked at may be found again. */
function merged(before: readonly FoundMark[], found: readonly FoundMark[]): FoundMark[] {
  const first = found[0]?.line ?? Number.POSITIVE_INFINITY;
  return [...before.filter((mark) => mark.line < first), ...found];
}
