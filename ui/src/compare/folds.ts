// Long stretches that are the same are folded, but for a few lines around what differs.

import type { Row } from "./lines";

export type Shown = { kind: "row"; row: Row; index: number } | { kind: "fold"; from: number; to: number };

const CONTEXT_LINES = 3;
// A fold that hides less is more trouble than it saves.
const MIN_FOLDED = 4;

/** open: where folds begin that are unfolded. */
export function shownRows(rows: readonly Row[], open: ReadonlySet<number>): Shown[] {
  const shown: Shown[] = [];
  let index = 0;
  while (index < rows.length) {
    const row = rows[index];
    if (row === undefined) break;
    if (row.kind !== "same") {
      shown.push({ kind: "row", row, index });
      index++;
      continue;
    }
    let end = index;
    while (end < rows.length && rows[end]?.kind === "same") end++;
    const from = index === 0 ? 0 : index + CONTEXT_LINES;
    const to = end === rows.length ? end : end - CONTEXT_LINES;
    const folded = to - from >= MIN_FOLDED && !open.has(from);
    for (let at = index; at < end; at++) {
      if (folded && at === from) {
        shown.push({ kind: "fold", from, to });
        at = to - 1;
        continue;
      }
      const one = rows[at];
      if (one !== undefined) shown.push({ kind: "row", row: one, index: at });
    }
    index = end;
  }
  return shown;
}

/** Where stretches of differences begin, as indexes of what is shown. */
export function differences(shown: readonly Shown[]): number[] {
  const differs = (one: Shown | undefined): boolean => one?.kind === "row" && one.row.kind !== "same";
  const starts: number[] = [];
  for (let index = 0; index < shown.length; index++)
    if (differs(shown[index]) && !differs(shown[index - 1])) starts.push(index);
  return starts;
}
