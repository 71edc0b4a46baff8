// The runs of a namespace as they are listed: live ones first, pages by cursor, and news without a jump.

import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useMemo, useRef } from "react";
import { ApiError, getJson, type Parameters, type Run, type Runs, runPath } from "../api/client";
import { arranged, type RunState, runStates, type Seen } from "./run_order";

const FIRST_PAGE = 100;
const PAGE = 500;
const REFRESH_MS = 5_000;
/** Runs in sight that are asked for one by one, as no page that is asked for again has them. */
const MOST_ASKED = 40;

export interface RunsWanted {
  namespace: string;
  text: string;
  states: readonly string[];
  label: string;
  createdFrom: string;
  createdBefore: string;
}

function parameters(wanted: RunsWanted): Parameters {
  return {
    text: wanted.text,
    label: wanted.label === "" ? [] : wanted.label.split(/\s+/),
    created_from: wanted.createdFrom,
    created_before: wanted.createdBefore,
  };
}

export interface RunList {
  runs: readonly Run[];
  /** Runs that came after the list was made. */
  fresh: number;
  more: boolean;
  loading: boolean;
  error: unknown;
  loadMore: () => void;
  retry: () => void;
}

interface Place {
  part: "live" | "ended";
  cursor: string;
}

/**
 * Live runs, the newest first, then the others. Where `top` says that nothing can jump, the list is put in order each time
 * that it is brought up to date; else its runs keep their places, and those that came are counted. shown: which of
 * `runs` are in sight.
 */
export function useRuns(wanted: RunsWanted, top: boolean, shown: () => readonly Run[]): RunList {
  const path = `/namespaces/${encodeURIComponent(wanted.namespace)}/runs`;
  const asked = parameters(wanted);
  const ended = runStates.filter((state) => state !== "live" && isWanted(wanted, state));
  const live = isWanted(wanted, "live");
  const key = [path, asked, live, ended];
  const get = (part: Place["part"], parameters: Parameters, signal: AbortSignal): Promise<Runs> =>
    getJson<Runs>(path, { ...asked, ...parameters, state: part === "live" ? ["live"] : ended }, signal);
  const first: Place = { part: live ? "live" : "ended", cursor: "" };
  const pages = useInfiniteQuery({
    queryKey: ["runs", ...key],
    queryFn: ({ pageParam: { part, cursor }, signal }) =>
      get(part, { limit: cursor === "" ? FIRST_PAGE : PAGE, cursor }, signal),
    initialPageParam: first,
    getNextPageParam: (last, _all, place): Place | undefined => {
      if (last.next_cursor !== "") return { part: place.part, cursor: last.next_cursor };
      return place.part === "live" && ended.length > 0 ? { part: "ended", cursor: "" } : undefined;
    },
    // There may be hundreds of pages; what is new in them is learnt below.
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
  });
  const runs = useRef<readonly Run[]>([]);
  const news = useQuery({
    queryKey: ["news of runs", ...key],
    queryFn: async ({ signal }) => {
      const [lives, others] = await Promise.all([
        live ? get("live", { limit: FIRST_PAGE }, signal) : null,
        ended.length > 0 ? get("ended", { limit: FIRST_PAGE }, signal) : null,
      ]);
      const newest = [...(lives?.runs ?? []), ...(others?.runs ?? [])];
      return { newest, ...(await askedAgain(newest, shown(), signal)) };
    },
    refetchInterval: REFRESH_MS,
    enabled: pages.data !== undefined,
  });
  const known = useRef<{ key: string; changed: Map<string, Run | null> }>({ key: "", changed: new Map() });
  const order = useRef<Seen>({ names: [], fresh: 0 });
  const keyText = JSON.stringify(key);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says all of what is wanted
  const result = useMemo(() => {
    if (known.current.key !== keyText) {
      known.current = { key: keyText, changed: new Map() };
      order.current = { names: [], fresh: 0 };
    }
    const { changed } = known.current;
    for (const run of news.data?.newest ?? []) changed.set(run.run, run);
    for (const run of news.data?.asked ?? []) changed.set(run.run, run);
    for (const name of news.data?.gone ?? []) changed.set(name, null);
    const byName = new Map<string, Run>();
    for (const run of (pages.data?.pages ?? []).flatMap((page) => page.runs)) byName.set(run.run, run);
    const listed = new Set(byName.keys());
    if (pages.data !== undefined)
      for (const [name, run] of changed) {
        if (run === null) byName.delete(name);
        else byName.set(name, run);
        // One that came into another state leaves a list of certain states once nothing can jump.
        if (top && run !== null && !isWanted(wanted, run.state as RunState)) byName.delete(name);
      }
    order.current = arranged(byName, listed, order.current.names, top);
    return order.current.names.map((name) => byName.get(name)).filter((run) => run !== undefined);
  }, [pages.data, news.data, top, keyText]);
  runs.current = result;
  return {
    runs: result,
    fresh: order.current.fresh,
    more: pages.hasNextPage || pages.isFetchingNextPage,
    loading: pages.isPending,
    error: pages.error ?? (news.error && pages.data !== undefined ? news.error : null),
    loadMore: () => {
      if (pages.hasNextPage && !pages.isFetching) void pages.fetchNextPage();
    },
    retry: () => void (pages.data === undefined ? pages.refetch() : pages.fetchNextPage()),
  };
}

function isWanted(wanted: RunsWanted, state: RunState): boolean {
  return wanted.states.length === 0 || wanted.states.includes(state);
}

/** Runs in sight that were live and that the newest ones do not tell of: they may have ended, or be gone. */
async function askedAgain(
  newest: readonly Run[],
  shown: readonly Run[],
  signal: AbortSignal,
): Promise<{ asked: Run[]; gone: string[] }> {
  const told = new Set(newest.map((run) => run.run));
  const open = shown.filter((run) => run.state === "live" && !told.has(run.run)).slice(0, MOST_ASKED);
  const asked: Run[] = [];
  const gone: string[] = [];
  await Promise.all(
    open.map(async (run) => {
      try {
        asked.push(await getJson<Run>(runPath(run.namespace, run.run), {}, signal));
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 404)) throw error;
        gone.push(run.run);
      }
    }),
  );
  return { asked, gone };
}
