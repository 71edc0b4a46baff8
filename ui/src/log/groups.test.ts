import { describe, expect, it } from "vitest";
import type { FoundMark } from "../api/client";
import { groupsOf, Rows } from "./groups";

const mark = (kind: FoundMark["kind"], line: number, name = "", title = "t"): FoundMark => ({
  kind,
  line,
  offset: 0,
  title,
  name,
});

describe("groupsOf", () => {
  it("pairs begins and ends", () => {
    const groups = groupsOf([mark("group", 2), mark("end", 5), mark("group", 7), mark("end", 9)]);
    expect(groups.map(({ line, end }) => [line, end])).toEqual([
      [2, 5],
      [7, 9],
    ]);
  });
  it("ends Buildkite's groups where the next begins", () => {
    const groups = groupsOf([mark("group", 1), mark("group", 10), mark("error", 12)]);
    expect(groups.map(({ line, end, depth }) => [line, end, depth])).toEqual([
      [1, 9, 0],
      [10, Number.POSITIVE_INFINITY, 0],
    ]);
  });
  it("nests GitLab's sections by name, and leaves ends without a begin alone", () => {
    const groups = groupsOf([
      mark("end", 1, "x"),
      mark("group", 2, "a"),
      mark("group", 3, "b"),
      mark("end", 8, "b"),
      mark("end", 9, "a"),
    ]);
    expect(groups.map(({ line, end, depth }) => [line, end, depth])).toEqual([
      [2, 9, 0],
      [3, 8, 1],
    ]);
  });
});

describe("Rows", () => {
  it("agrees with what is hidden line by line", () => {
    const groups = groupsOf([
      mark("group", 2, "a"),
      mark("group", 4, "b"),
      mark("end", 6, "b"),
      mark("end", 9, "a"),
      mark("group", 12, "c"),
      mark("end", 12, "c"),
      mark("group", 14, "d"),
    ]);
    for (const folded of [[], [2], [4], [2, 4], [14], [2, 12, 14], [4, 14]]) {
      const set = new Set(folded);
      const shown: number[] = [];
      for (let line = 1; line <= 20; line++) {
        const hidden = groups.some((group) => set.has(group.line) && group.line < line && line <= group.end);
        if (!hidden) shown.push(line);
      }
      const rows = new Rows(20, groups, set);
      expect(rows.count).toBe(shown.length);
      expect(shown.map((_, row) => rows.lineOf(row))).toEqual(shown);
      expect(shown.map((line) => rows.rowOf(line))).toEqual(shown.map((_, row) => row));
    }
  });
  it("gives a hidden line the row of its group", () => {
    const rows = new Rows(20, groupsOf([mark("group", 5, "a"), mark("end", 9, "a")]), new Set([5]));
    expect([5, 6, 9, 10].map((line) => rows.rowOf(line))).toEqual([4, 4, 4, 5]);
  });
});
