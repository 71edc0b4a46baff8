// How the leader is asked, and asked again where it did not answer.

import { QueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { ApiError } from "./client";

/** When what could not be had is asked for again: a page comes back by itself once the leader does. */
export const AGAIN_MS = 4_000;

interface Asked {
  state: { error: unknown };
}

export function isPassing(error: unknown): boolean {
  return error instanceof ApiError && error.passing;
}

/** A refetchInterval: each so many milliseconds, sooner where the last answer was a failure that may pass. */
export function every(milliseconds: number | false): (query: Asked) => number | false {
  return (query) => {
    if (!isPassing(query.state.error)) return milliseconds;
    return milliseconds === false ? AGAIN_MS : Math.min(milliseconds, AGAIN_MS);
  };
}

export function newQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // Once at once, and then as often as the interval says: the page tells of it meanwhile.
        retry: (failures, error) => failures < 1 && isPassing(error),
        refetchInterval: every(false),
        staleTime: 2_000,
        // The browser's word for being offline is not asked: a page says so when the leader does not answer.
        networkMode: "always",
        refetchOnReconnect: true,
      },
      mutations: { networkMode: "always" },
    },
  });
}

interface Answered {
  data: unknown;
  error: unknown;
  errorUpdateCount: number;
}

/** What went wrong last: also while it is asked again, as long as there is no answer at all. */
export function useFailure({ data, error, errorUpdateCount }: Answered): unknown {
  const last = useRef<unknown>(null);
  if (error !== null) last.current = error;
  return error ?? (data === undefined && errorUpdateCount > 0 ? last.current : null);
}

interface Pages {
  isFetchNextPageError: boolean;
  isFetching: boolean;
  error: unknown;
  fetchNextPage: () => unknown;
}

/** Asks for a further page again that could not be had. */
export function useNextPageAgain({ isFetchNextPageError, isFetching, error, fetchNextPage }: Pages): void {
  const wanted = isFetchNextPageError && !isFetching && isPassing(error);
  useEffect(() => {
    if (!wanted) return;
    const timer = setTimeout(() => void fetchNextPage(), AGAIN_MS);
    return () => clearTimeout(timer);
  }, [wanted, fetchNextPage]);
}
