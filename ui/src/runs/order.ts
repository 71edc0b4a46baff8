// In which order runs are listed, and how it stays the same while somebody looks.

import type { Run, Runs } from "../api/client";

export type RunState = "live" | "succeeded" | "failed" | "interrupted";
export const runStates: readonly RunState[] = ["live", "succeeded", "failed", "interrupted"];

export interface Seen {
  names: readonly string[];
  /** Runs that are left out for now, so that nothing jumps. */
  fresh: number;
}

function byTime(one: Run, other: Run): number {
  const [left, right] = [one.created_at ?? "", other.created_at ?? ""];
  if (left !== right) return left < right ? 1 : -1;
  return one.run < other.run ? -1 : 1;
}

/** Live ones first, each part newest first. */
function inOrder(runs: Iterable<Run>): string[] {
  const all = [...runs].sort(byTime);
  return [...all.filter((run) => run.state === "live"), ...all.filter((run) => run.state !== "live")].map(
    (run) => run.run,
  );
}

/**
 * The names in their order. before: as they were listed. free: they may be put in order anew; else what was listed stays
 * where it is, what came with a further page is put behind it, and what else came is left out and counted.
 * listed: names that came with a page.
 */
export function arranged(
  byName: ReadonlyMap<string, Run>,
  listed: ReadonlySet<string>,
  before: readonly string[],
  free: boolean,
): Seen {
  if (free || before.length === 0) return { names: inOrder(byName.values()), fresh: 0 };
  const known = new Set(before);
  const kept = before.filter((name) => byName.has(name));
  const rest = [...byName.values()].filter((run) => !known.has(run.run));
  const later = inOrder(rest.filter((run) => listed.has(run.run)));
  return { names: [...kept, ...later], fresh: rest.length - later.length };
}

/** Whether there may be runs between the newest ones and those that are known, as after a tab was hidden for long. */
export function leavesRoom(newest: Runs | null, isKnown: (name: string) => boolean): boolean {
  return newest !== null && newest.next_cursor !== "" && !newest.runs.some((run) => isKnown(run.run));
}
