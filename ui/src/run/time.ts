// When tasks ran, on one axis of time.

import type { Log } from "../api/client";

export interface Axis {
  from: number;
  to: number;
}

export function began(log: Log): number {
  return Date.parse(log.start?.started_at ?? log.created_at ?? "") || 0;
}

export function ended(log: Log, now: number): number {
  if (log.state === "live") return now;
  return Date.parse(log.outcome?.ended_at ?? log.completed_at ?? log.last_append_at ?? "") || began(log);
}

export function axisOf(logs: readonly Log[], now: number): Axis {
  const from = logs.map(began).reduce((first, time) => (time > 0 ? Math.min(first, time) : first), now);
  const to = logs.reduce((last, log) => Math.max(last, ended(log, now)), from + 1);
  return { from, to };
}
