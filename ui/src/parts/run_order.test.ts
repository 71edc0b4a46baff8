import { describe, expect, it } from "vitest";
import type { Run } from "../api/client";
import { arranged } from "./run_order";

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
