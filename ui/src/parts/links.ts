// Where pages are, for links between them.

import type { LogId, Run } from "../api/client";

export function runUrl(run: Pick<Run, "namespace" | "run">): string {
  return `/runs/${[run.namespace, run.run].map(encodeURIComponent).join("/")}`;
}

export function logUrl({ namespace, run, task, attempt }: LogId): string {
  return `/logs/${[namespace, run, task, String(attempt)].map(encodeURIComponent).join("/")}`;
}

/** Two attempts of a task side by side, the earlier one on the left. */
export function compareUrl(one: LogId & { attempt: number }, other: { attempt: number }): string {
  const [left, right] = [one.attempt, other.attempt].sort((a, b) => a - b);
  const { namespace, run, task } = one;
  return `/compare?${new URLSearchParams({ namespace, run, task, left: String(left), right: String(right) })}`;
}
