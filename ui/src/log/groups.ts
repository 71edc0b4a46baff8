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

/** Lines that are shown alone, or not shown. In order. */
export interface Filter {
  kind: "only" | "without";
  lines: readonly number[];
}

interface Fold {
  first: number;
  last: number;
  /** Lines that are hidden in the folds before this one. */
  before: number;
}

/** Ranges of lines that are hidden, in order, none of them touching the next one. */
function hiddenRanges(lines: number, groups: readonly Group[], folded: ReadonlySet<number>, filter: Filter | null) {
  const ranges: { first: number; last: number }[] = [];
  for (const group of groups) {
    const last = Math.min(group.end, lines);
    if (folded.has(group.line) && last > group.line) ranges.push({ first: group.line + 1, last });
  }
  if (filter?.kind === "without") {
    for (const line of filter.lines) {
      if (line > lines) break;
      const before = ranges.at(-1);
      if (before !== undefined && before.last === line - 1) before.last = line;
      else ranges.push({ first: line, last: line });
    }
    ranges.sort((one, other) => one.first - other.first);
  }
  const merged: typeof ranges = [];
  for (const range of ranges) {
    const before = merged.at(-1);
    if (before !== undefined && range.first <= before.last + 1) before.last = Math.max(before.last, range.last);
    else merged.push({ ...range });
  }
  return merged;
}

/** The first index of a sorted list for which isMore; its length where there is none. */
function after(length: number, isMore: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isMore(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Rows of a log with folded groups and filtered lines. Without them row 0 is line 1. */
export class Rows {
  readonly count: number;
  #folds: Fold[] = [];
  #only: readonly number[] | null = null;

  constructor(lines: number, groups: readonly Group[], folded: ReadonlySet<number>, filter: Filter | null = null) {
    if (filter?.kind === "only") {
      this.#only = filter.lines;
      this.count = filter.lines.length;
      return;
    }
    let hidden = 0;
    for (const { first, last } of hiddenRanges(lines, groups, folded, filter)) {
      this.#folds.push({ first, last, before: hidden });
      hidden += last - first + 1;
    }
    this.count = Math.max(0, lines - hidden);
  }

  lineOf(row: number): number {
    if (this.#only !== null) return this.#only[row] ?? 1;
    const at = after(this.#folds.length, (index) => {
      const fold = this.#folds[index] as Fold;
      return fold.first - 1 - fold.before > row;
    });
    const fold = this.#folds[at - 1];
    return row + 1 + (fold === undefined ? 0 : fold.before + fold.last - fold.first + 1);
  }

  /** The row of a line; of a hidden one, that of the last line before it that is shown. */
  rowOf(line: number): number {
    const only = this.#only;
    if (only !== null) return Math.max(0, after(only.length, (index) => (only[index] as number) > line) - 1);
    const at = after(this.#folds.length, (index) => (this.#folds[index] as Fold).first > line);
    const fold = this.#folds[at - 1];
    if (fold === undefined) return line - 1;
    if (line <= fold.last) return Math.max(0, fold.first - 2 - fold.before);
    return line - 1 - (fold.before + fold.last - fold.first + 1);
  }
}
