// The two texts, as much of them as is compared, and what the worker makes of them.

import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { bytesOf, type Chunk, getJson, type Log, type LogId, logPath } from "../api/client";
import { every, useFailure } from "../api/queries";
import type { Comparison } from "./lines";
import type { Answered, Asked } from "./worker";

/** Of each log, its first so many bytes are compared. */
export const MAX_BYTES = 8 << 20;
const PAGE_BYTES = 1 << 20;

export interface Side {
  log: Log;
  text: string;
  /** Bytes of the log that were read; the rest is not compared. */
  bytes: number;
}

async function readSide(id: LogId, signal: AbortSignal): Promise<Side> {
  const path = logPath(id);
  const log = await getJson<Log>(path, {}, signal);
  const decoder = new TextDecoder("utf-8", { fatal: false });
  let text = "";
  let offset = 0;
  while (offset < Math.min(log.length, MAX_BYTES)) {
    const limit = Math.min(PAGE_BYTES, MAX_BYTES - offset);
    const chunk = await getJson<Chunk>(`${path}/bytes`, { offset, limit, format: "json" }, signal);
    if (chunk.next_offset <= offset) break;
    text += decoder.decode(bytesOf(chunk), { stream: true });
    offset = chunk.next_offset;
  }
  return { log, text: text + decoder.decode(), bytes: offset };
}

export interface Comparing {
  left: Side | undefined;
  right: Side | undefined;
  comparison: Comparison | null;
  running: boolean;
  error: unknown;
  again: () => void;
}

function useSide(id: LogId): ReturnType<typeof useQuery<Side>> {
  return useQuery({
    queryKey: ["side", logPath(id)],
    queryFn: ({ signal }) => readSide(id, signal),
    staleTime: Number.POSITIVE_INFINITY,
    // Megabytes: not kept for longer than they are looked at.
    gcTime: 0,
    refetchOnWindowFocus: false,
    // What was read is kept; only what could not be had is asked for again.
    refetchInterval: (query) => query.state.data === undefined && every(false)(query),
    refetchOnReconnect: false,
  });
}

export function useComparison(leftId: LogId, rightId: LogId, ignore: boolean): Comparing {
  const left = useSide(leftId);
  const right = useSide(rightId);
  const [comparison, setComparison] = useState<Comparison | null>(null);
  const [failure, setFailure] = useState<Error | null>(null);
  const [leftText, rightText] = [left.data?.text, right.data?.text];
  useEffect(() => {
    setComparison(null);
    setFailure(null);
    if (leftText === undefined || rightText === undefined) return;
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = (event: MessageEvent<Answered>) => {
      if ("error" in event.data) setFailure(new Error(event.data.error));
      else setComparison(event.data.comparison);
      worker.terminate();
    };
    worker.onerror = (event) => setFailure(new Error(event.message || "the comparison could not be started"));
    const asked: Asked = { left: leftText, right: rightText, ignore };
    worker.postMessage(asked);
    return () => worker.terminate();
  }, [leftText, rightText, ignore]);
  const unread = [useFailure(left), useFailure(right)];
  const error = unread[0] ?? unread[1] ?? failure;
  return {
    left: left.data,
    right: right.data,
    comparison,
    running: error === null && comparison === null,
    error,
    again: () => {
      void left.refetch();
      void right.refetch();
    },
  };
}
