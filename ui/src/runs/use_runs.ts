// The runs of a namespace as they are listed: live ones first, pages by cursor, and news without a jump.

import {
  type InfiniteData,
  type UseInfiniteQueryResult,
  type UseQueryResult,
  useInfiniteQuery,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { ApiError, getJson, type Parameters, type Run, type Runs, runPath } from "../api/client";
import { every, useFailure, useNextPageAgain } from "../api/queries";
import { Listing, type News, type Part, type Place } from "./listing";
import { type RunState, runStates } from "./order";

const FIRST_PAGE = 100;
// As many as the leader gives at once.
const PAGE = 1000;
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

export interface RunList {
  runs: readonly Run[];
  /** Runs that came after the list was made. */
  fresh: number;
  more: boolean;
  loading: boolean;
  error: unknown;
  /** When the leader last told of them, in milliseconds. */
  toldAt: number;
  loadMore: () => void;
  retry: () => void;
}

/** How the leader is asked for what is wanted. */
interface Asking {
  live: boolean;
  ended: readonly RunState[];
  isWanted: (state: RunState) => boolean;
  pagesKey: readonly unknown[];
  newsKey: readonly unknown[];
  get: (part: Part, parameters: Parameters, signal: AbortSignal) => Promise<Runs>;
}

function askingOf(wanted: RunsWanted): Asking {
  const path = `/namespaces/${encodeURIComponent(wanted.namespace)}/runs`;
  const asked: Parameters = {
    text: wanted.text,
    label: wanted.label === "" ? [] : wanted.label.split(/\s+/),
    created_from: wanted.createdFrom,
    created_before: wanted.createdBefore,
  };
  const isWanted = (state: RunState): boolean => wanted.states.length === 0 || wanted.states.includes(state);
  const ended = runStates.filter((state) => state !== "live" && isWanted(state));
  const live = isWanted("live");
  const key = [path, asked, live, ended];
  return {
    live,
    ended,
    isWanted,
    pagesKey: ["runs", ...key],
    newsKey: ["news of runs", ...key],
    get: (part, parameters, signal) =>
      getJson<Runs>(path, { ...asked, ...parameters, state: part === "live" ? ["live"] : ended }, signal),
  };
}

/** All pages so far: of live runs, then of the others. */
function useRunPages(asking: Asking): UseInfiniteQueryResult<InfiniteData<Runs>> {
  const first: Place = { part: asking.live ? "live" : "ended", cursor: "" };
  const pages = useInfiniteQuery({
    queryKey: asking.pagesKey,
    queryFn: ({ pageParam: { part, cursor }, signal }) =>
      asking.get(part, { limit: cursor === "" ? FIRST_PAGE : PAGE, cursor }, signal),
    initialPageParam: first,
    getNextPageParam: (last, _all, place): Place | undefined => {
      if (last.next_cursor !== "") return { part: place.part, cursor: last.next_cursor };
      return place.part === "live" && asking.ended.length > 0 ? { part: "ended", cursor: "" } : undefined;
    },
    // There may be hundreds of pages; what is new in them is learnt otherwise.
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
    refetchInterval: (query) => query.state.data === undefined && every(false)(query),
  });
  useNextPageAgain(pages);
  return pages;
}

/** The newest runs of each part, again and again, and what became of the live ones in sight. */
function useNews(asking: Asking, shown: () => readonly Run[], enabled: boolean): UseQueryResult<News> {
  return useQuery<News>({
    queryKey: asking.newsKey,
    queryFn: async ({ signal }) => {
      const [live, ended] = await Promise.all([
        asking.live ? asking.get("live", { limit: FIRST_PAGE }, signal) : null,
        asking.ended.length > 0 ? asking.get("ended", { limit: FIRST_PAGE }, signal) : null,
      ]);
      const newest = [...(live?.runs ?? []), ...(ended?.runs ?? [])];
      return { parts: { live, ended }, ...(await askedAgain(newest, shown(), signal)) };
    },
    refetchInterval: every(REFRESH_MS),
    enabled,
  });
}

/**
 * Live runs, the newest first, then the others. Where `top` says that nothing can jump, the list is put in order each time
 * that it is brought up to date; else its runs keep their places, and those that came are counted. shown: which of
 * `runs` are in sight.
 */
export function useRuns(wanted: RunsWanted, top: boolean, shown: () => readonly Run[]): RunList {
  const asking = askingOf(wanted);
  const keyText = JSON.stringify(asking.pagesKey);
  const client = useQueryClient();
  const pages = useRunPages(asking);
  const failure = useFailure(pages);
  const begun = pages.data !== undefined;
  const news = useNews(asking, shown, begun);
  // biome-ignore lint/correctness/useExhaustiveDependencies: one for each list, from its first page on
  const listing = useMemo(() => new Listing(asking.isWanted, news.data), [keyText, begun]);
  const runs = useMemo(
    () => (pages.data === undefined ? [] : listing.update(pages.data, news.data, top)),
    [listing, pages.data, news.data, top],
  );
  const { missed } = listing;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says which pages
  useEffect(() => {
    if (!missed || !top) return;
    for (const queryKey of [asking.newsKey, asking.pagesKey]) void client.resetQueries({ queryKey, exact: true });
  }, [missed, top, client, keyText]);
  return {
    runs,
    fresh: listing.fresh,
    more: pages.hasNextPage || pages.isFetchingNextPage,
    loading: pages.isPending && failure === null,
    error: failure ?? (begun ? news.error : null),
    toldAt: begun ? Math.max(pages.dataUpdatedAt, news.dataUpdatedAt) : 0,
    loadMore: () => {
      if (pages.hasNextPage && !pages.isFetching && !pages.isFetchNextPageError) void pages.fetchNextPage();
    },
    retry: () => {
      if (pages.error === null) void news.refetch();
      else void (begun ? pages.fetchNextPage() : pages.refetch());
    },
  };
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
