// What joblog itself has to say about a log, at the places that it is about.

import type { LogEvent } from "../api/client";
import type { Line } from "./lines";

const NONE: readonly LogEvent[] = [];

/** Events by offset and time, each once. */
export function mergedEvents(...lists: readonly (readonly LogEvent[])[]): LogEvent[] {
  const found = new Map<string, LogEvent>();
  for (const event of lists.flat()) found.set(`${event.offset} ${event.at} ${event.kind}`, event);
  return [...found.values()].sort(
    (one, other) => one.offset - other.offset || (one.at ?? "").localeCompare(other.at ?? ""),
  );
}

export interface Notes {
  before: readonly LogEvent[];
  after: readonly LogEvent[];
}

const NO_NOTES: Notes = { before: NONE, after: NONE };

/**
 * Those that belong to a line: behind it the ones at an offset within it or at its end; before it those of the gap that
 * it follows, and, before the first line, those of the log's begin.
 */
export function notesOf(line: Line | undefined, events: readonly LogEvent[]): Notes {
  if (line === undefined || events.length === 0) return NO_NOTES;
  const begin = line.offset - (line.gap?.length ?? 0);
  const end = line.offset + line.length + (line.complete ? 1 : 0);
  let at = 0;
  let high = events.length;
  while (at < high) {
    const middle = (at + high) >> 1;
    if ((events[middle] as LogEvent).offset < begin) at = middle + 1;
    else high = middle;
  }
  const before: LogEvent[] = [];
  const after: LogEvent[] = [];
  for (; at < events.length && (events[at] as LogEvent).offset <= end; at++) {
    const event = events[at] as LogEvent;
    if (event.offset > line.offset) after.push(event);
    else if (event.offset > begin || event.offset === 0) before.push(event);
  }
  return before.length + after.length === 0 ? NO_NOTES : { before, after };
}
