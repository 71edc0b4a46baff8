// Groups of lines that fold, and which line is shown in which row when some are folded.

import type { FoundMark } from "../api/client";

export interface Group {
  /** The line that begins it; it stays visible. */
  line: number;
  /** The last line in it; Infinity while its end is not known. */
  end: number;
  title: string;
  depth: number;
}

/** Groups from marks in the order of their lines. A group without end goes up to the next one that stands beside it. */
export function groupsOf(marks: readonly FoundMark[]): Group[] {
  const groups: Group[] = [];
  const open: { group: Group; name: string; ends: boolean }[] = [];
  for (const mark of marks) {
    if (mark.kind === "group") {
      // Buildkite's groups have no end: the next one ends them.
      while (open.length > 0 && open.at(-1)?.name === "" && mark.name === "") {
        const last = open.pop();
        if (last !== undefined) last.group.end = mark.line - 1;
      }
      const group: Group = { line: mark.line, end: Number.POSITIVE_INFINITY, title: mark.title, depth: open.length };
      groups.push(group);
      open.push({ group, name: mark.name, ends: false });
    } else if (mark.kind === "end") {
      const at = open.findLastIndex((one) => one.name === mark.name);
      if (at < 0) continue;
      for (const one of open.splice(at)) one.group.end = mark.line;
    }
  }
  return groups;
}

interface Fold {
  first: number;
  last: number;
  /** Lines that are hidden in the folds before this one. */
  before: number;
}

/** Rows of a log with folded groups: row 0 is line 1. */
export class Rows {
  readonly count: number;
  #folds: Fold[] = [];

  constructor(lines: number, groups: readonly Group[], folded: ReadonlySet<number>) {
    let hidden = 0;
    let covered = 0;
    for (const group of groups) {
      if (!folded.has(group.line) || group.line <= covered) continue;
      const last = Math.min(group.end, lines);
      if (last <= group.line) continue;
      this.#folds.push({ first: group.line + 1, last, before: hidden });
      hidden += last - group.line;
      covered = last;
    }
    this.count = Math.max(0, lines - hidden);
  }

  lineOf(row: number): number {
    let low = 0;
    let high = this.#folds.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const fold = this.#folds[middle] as Fold;
      if (fold.first - 1 - fold.before <= row) low = middle + 1;
      else high = middle;
    }
    const fold = this.#folds[low - 1];
    return row + 1 + (fold === undefined ? 0 : fold.before + fold.last - fold.first + 1);
  }

  /** The row of a line; of a hidden one, that of its group's first line. */
  rowOf(line: number): number {
    let low = 0;
    let high = this.#folds.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#folds[middle] as Fold).first <= line) low = middle + 1;
      else high = middle;
    }
    const fold = this.#folds[low - 1];
    if (fold === undefined) return line - 1;
    if (line <= fold.last) return fold.first - 2 - fold.before;
    return line - 1 - (fold.before + fold.last - fold.first + 1);
  }
}
