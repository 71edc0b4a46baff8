// A run and all its logs, brought up to date while something of it is live.

import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { getJson, type Log, type Logs, type Run } from "../api/client";
import { every, useFailure, useNextPageAgain } from "../api/queries";

const LIVE_MS = 3_000;
const ENDED_MS = 15_000;
const PAGE = 200;

export interface OpenRun {
  run: Run | undefined;
  logs: readonly Log[];
  error: unknown;
  /** When the leader last told of all of it, in milliseconds; 0: it never did. */
  toldAt: number;
  retry: () => void;
}

/** path: the run's, in the HTTP API. */
export function useRun(path: string): OpenRun {
  const run = useQuery({
    queryKey: ["run", path],
    queryFn: ({ signal }) => getJson<Run>(path, {}, signal),
    refetchInterval: (query) => every(query.state.data?.state === "live" ? LIVE_MS : ENDED_MS)(query),
  });
  const pages = useInfiniteQuery({
    queryKey: ["logs", path],
    queryFn: ({ pageParam, signal }) => getJson<Logs>(`${path}/logs`, { limit: PAGE, cursor: pageParam }, signal),
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor || undefined,
    // The run may have ended since a log of it was last told of.
    refetchInterval: (query) => {
      const isLive = (log: Log): boolean => log.state === "live";
      const live = run.data?.state === "live" || query.state.data?.pages.some((page) => page.logs.some(isLive));
      return every(live ? LIVE_MS : false)(query);
    },
  });
  const { hasNextPage, isFetching, isFetchNextPageError, fetchNextPage } = pages;
  useEffect(() => {
    if (hasNextPage && !isFetching && !isFetchNextPageError) void fetchNextPage();
  }, [hasNextPage, isFetching, isFetchNextPageError, fetchNextPage]);
  useNextPageAgain(pages);
  const logs = useMemo(() => (pages.data?.pages ?? []).flatMap((page) => page.logs), [pages.data]);
  const failures = [useFailure(run), useFailure(pages)];
  const known = run.data !== undefined && pages.data !== undefined;
  return {
    run: run.data,
    logs,
    error: failures[0] ?? failures[1],
    toldAt: known ? Math.min(run.dataUpdatedAt, pages.dataUpdatedAt) : 0,
    retry: () => {
      void run.refetch();
      void (isFetchNextPageError ? fetchNextPage() : pages.refetch());
    },
  };
}
