// The runs of a namespace as they are listed: pages by cursor, and news without a jump.

import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { getJson, type Parameters, type Run, type Runs } from "../api/client";

const PAGE = 100;
const REFRESH_MS = 5_000;

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
    state: wanted.states,
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
  takeFresh: () => void;
  retry: () => void;
}

/**
 * The list as it was first loaded, its runs brought up to date; live ones first. New ones are counted, and come in
 * when the reader asks, or at once where `top` says that nothing can jump.
 */
export function useRuns(wanted: RunsWanted, top: boolean): RunList {
  const path = `/namespaces/${encodeURIComponent(wanted.namespace)}/runs`;
  const asked = parameters(wanted);
  const pages = useInfiniteQuery({
    queryKey: ["runs", path, asked],
    queryFn: ({ pageParam, signal }) => getJson<Runs>(path, { ...asked, limit: PAGE, cursor: pageParam }, signal),
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor || undefined,
  });
  const newest = useQuery({
    queryKey: ["newest runs", path, asked],
    queryFn: ({ signal }) => getJson<Runs>(path, { ...asked, limit: PAGE }, signal),
    refetchInterval: REFRESH_MS,
  });
  const { runs, fresh } = useMemo(() => {
    const byName = new Map((newest.data?.runs ?? []).map((run) => [run.run, run]));
    const listed = (pages.data?.pages ?? []).flatMap((page) => page.runs);
    const names = new Set(listed.map((run) => run.run));
    const unseen = pages.data === undefined ? [] : [...byName.values()].filter((run) => !names.has(run.run));
    const current = listed.map((run) => byName.get(run.run) ?? run);
    const all = top ? [...unseen, ...current] : current;
    // Stable: within live ones and the others, the newest first.
    const sorted = [...all.filter((run) => run.state === "live"), ...all.filter((run) => run.state !== "live")];
    return { runs: sorted, fresh: top ? 0 : unseen.length };
  }, [pages.data, newest.data, top]);
  return {
    runs,
    fresh,
    more: pages.hasNextPage,
    loading: pages.isPending,
    error: pages.error,
    loadMore: () => {
      if (pages.hasNextPage && !pages.isFetching) void pages.fetchNextPage();
    },
    takeFresh: () => void pages.refetch(),
    retry: () => void pages.refetch(),
  };
}
