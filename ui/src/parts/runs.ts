// The runs of a namespace as they are listed: live ones first, pages by cursor, and news without a jump.

import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef } from "react";
import { ApiError, getJson, type Parameters, type Run, type Runs, runPath } from "../api/client";
import { arranged, leavesRoom, type RunState, runStates, type Seen } from "./run_order";

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

/** What the pages do not say of runs that are listed. news: the last that was looked at. missed: some runs are in neither. */
interface Known {
  key: string;
  news: unknown;
  changed: Map<string, Run | null>;
  missed: boolean;
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
  const client = useQueryClient();
  const pagesKey = ["runs", ...key];
  const newsKey = ["news of runs", ...key];
  const get = (part: Place["part"], parameters: Parameters, signal: AbortSignal): Promise<Runs> =>
    getJson<Runs>(path, { ...asked, ...parameters, state: part === "live" ? ["live"] : ended }, signal);
  const first: Place = { part: live ? "live" : "ended", cursor: "" };
  const pages = useInfiniteQuery({
    queryKey: pagesKey,
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
  const news = useQuery({
    queryKey: newsKey,
    queryFn: async ({ signal }) => {
      const [lives, others] = await Promise.all([
        live ? get("live", { limit: FIRST_PAGE }, signal) : null,
        ended.length > 0 ? get("ended", { limit: FIRST_PAGE }, signal) : null,
      ]);
      const newest = [...(lives?.runs ?? []), ...(others?.runs ?? [])];
      return { newest, parts: { live: lives, ended: others }, ...(await askedAgain(newest, shown(), signal)) };
    },
    refetchInterval: REFRESH_MS,
    enabled: pages.data !== undefined,
  });
  const known = useRef<Known>({ key: "", news: undefined, changed: new Map(), missed: false });
  const order = useRef<Seen>({ names: [], fresh: 0 });
  const keyText = JSON.stringify(key);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says all of what is wanted
  const result = useMemo(() => {
    if (known.current.key !== keyText || pages.data === undefined) {
      known.current = { key: keyText, news: news.data, changed: new Map(), missed: false };
      order.current = { names: [], fresh: 0 };
    }
    const { changed } = known.current;
    const names = new Set((pages.data?.pages ?? []).flatMap((page) => page.runs.map((run) => run.run)));
    if (news.data !== undefined && known.current.news !== news.data) {
      const { parts } = news.data;
      const isKnown = (name: string): boolean => names.has(name) || changed.has(name);
      known.current.news = news.data;
      // Of a part that no page is of yet nothing can be missing.
      for (const { part } of (pages.data?.pageParams ?? []) as Place[])
        if (leavesRoom(parts[part], isKnown)) known.current.missed = true;
    }
    for (const run of news.data?.newest ?? []) changed.set(run.run, run);
    for (const run of news.data?.asked ?? []) changed.set(run.run, run);
    for (const name of news.data?.gone ?? []) changed.set(name, null);
    const byName = new Map<string, Run>();
    for (const run of (pages.data?.pages ?? []).flatMap((page) => page.runs)) byName.set(run.run, run);
    if (pages.data !== undefined)
      for (const [name, run] of changed) {
        if (run === null) byName.delete(name);
        else byName.set(name, run);
        // One that came into another state leaves a list of certain states once nothing can jump.
        if (top && run !== null && !isWanted(wanted, run.state as RunState)) byName.delete(name);
      }
    order.current = arranged(byName, names, order.current.names, top);
    return order.current.names.map((name) => byName.get(name)).filter((run) => run !== undefined);
  }, [pages.data, news.data, top, keyText]);
  const { missed } = known.current;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says which pages
  useEffect(() => {
    if (!missed || !top) return;
    for (const queryKey of [newsKey, pagesKey]) void client.resetQueries({ queryKey, exact: true });
  }, [missed, top, client, keyText]);
  return {
    runs: result,
    fresh: order.current.fresh,
    more: pages.hasNextPage || pages.isFetchingNextPage,
    loading: pages.isPending,
    error: pages.error ?? (news.error && pages.data !== undefined ? news.error : null),
    loadMore: () => {
      if (pages.hasNextPage && !pages.isFetching) void pages.fetchNextPage();
    },
    retry: () => {
      if (pages.error === null) void news.refetch();
      else void (pages.data === undefined ? pages.refetch() : pages.fetchNextPage());
    },
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
