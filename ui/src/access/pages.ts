// Endless lists: pages by cursor, one after another, refreshed while only the first one is there.

import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { getJson, type Parameters } from "../api/client";
import { every, useFailure, useNextPageAgain } from "../api/queries";

interface Listed<Item> {
  items: Item[];
  loading: boolean;
  error: unknown;
  more: boolean;
  /** When the leader last told of them, in milliseconds; 0: not yet. */
  toldAt: number;
  loadMore: () => void;
  retry: () => void;
}

interface PageOf {
  next_cursor: string;
}

const LIMIT = 100;
// A page of what is filtered may be empty and not the last one.
const MAX_PAGES = 500;

/** The entries at a path. itemsOf: those of a page; it must stay the same function. */
export function usePages<Page extends PageOf, Item>(
  key: string,
  path: string,
  parameters: Parameters,
  itemsOf: (page: Page) => Item[],
  refreshMs: number,
): Listed<Item> {
  const query = useInfiniteQuery({
    queryKey: [key, parameters],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) => getJson<Page>(path, { ...parameters, limit: LIMIT, cursor: pageParam }, signal),
    getNextPageParam: (last: Page, all) => (all.length < MAX_PAGES && last.next_cursor ? last.next_cursor : undefined),
    // Of many pages, the ones below would be asked for again and again.
    refetchInterval: (state) => (state.state.data?.pages.length ?? 0) <= 1 && every(refreshMs)(state),
    refetchOnWindowFocus: false,
  });
  useNextPageAgain(query);
  const failure = useFailure(query);
  const items = useMemo(() => (query.data?.pages ?? []).flatMap(itemsOf), [query.data, itemsOf]);
  return {
    items,
    loading: query.isPending && failure === null,
    error: failure,
    more: query.hasNextPage,
    toldAt: query.dataUpdatedAt,
    loadMore: () => {
      if (query.hasNextPage && !query.isFetchingNextPage && !query.isFetchNextPageError) void query.fetchNextPage();
    },
    retry: () => void (query.isFetchNextPageError ? query.fetchNextPage() : query.refetch()),
  };
}
