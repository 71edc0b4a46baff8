import { describe, expect, it } from "vitest";
import type { Run, Runs } from "../api/client";
import { arranged, leavesRoom } from "./order";

const run = (name: string, second: number, state = "succeeded"): Run =>
  ({ run: name, state, created_at: `2026-01-01T00:00:${String(second).padStart(2, "0")}Z` }) as Run;
const byName = (...runs: Run[]) => new Map(runs.map((one) => [one.run, one]));
const names = (...all: string[]) => new Set(all);

describe("arranged", () => {
  it("has live runs first, each part newest first", () => {
    const all = byName(run("a", 1, "live"), run("b", 2), run("c", 3), run("d", 4, "live"));
    expect(arranged(all, names(), [], true)).toEqual({ names: ["d", "a", "c", "b"], fresh: 0 });
  });

  it("moves nothing that somebody looks at, and counts what came", () => {
    const before = ["d", "a", "c"];
    const all = byName(run("a", 1), run("c", 3), run("d", 4, "live"), run("e", 5, "live"), run("b", 0));
    // a has ended, e is new, b came with a further page.
    expect(arranged(all, names("a", "b", "c", "d"), before, false)).toEqual({ names: ["d", "a", "c", "b"], fresh: 1 });
    expect(arranged(all, names("a", "b", "c", "d"), before, true).names).toEqual(["e", "d", "c", "a", "b"]);
  });

  it("takes out what is gone", () => {
    expect(arranged(byName(run("a", 1)), names("a", "b"), ["b", "a"], false).names).toEqual(["a"]);
  });
});

describe("leavesRoom", () => {
  const newest = (next_cursor: string, ...runs: Run[]): Runs => ({ runs, next_cursor }) as Runs;

  it("is so where further runs follow the newest and none of these is known", () => {
    expect(leavesRoom(newest("more", run("e", 5), run("d", 4)), (name) => name === "a")).toBe(true);
  });

  it("is not so where they reach what is known, or are all there are", () => {
    expect(leavesRoom(newest("more", run("e", 5), run("d", 4)), (name) => name === "d")).toBe(false);
    expect(leavesRoom(newest("", run("e", 5)), () => false)).toBe(false);
    expect(leavesRoom(null, () => false)).toBe(false);
  });
});
