import { describe, expect, it } from "vitest";
import type { Run, Runs } from "../api/client";
import { Listing, type News } from "./listing";

const run = (name: string, second: number, state = "succeeded"): Run =>
  ({ run: name, state, created_at: `2026-01-01T00:00:${String(second).padStart(2, "0")}Z` }) as Run;
const page = (next_cursor: string, ...runs: Run[]): Runs => ({ runs, next_cursor }) as Runs;
const pages = (...all: Runs[]) => ({ pages: all, pageParams: all.map(() => ({ part: "ended" as const, cursor: "" })) });
const news = (ended: Runs, asked: Run[] = [], gone: string[] = []): News => ({
  parts: { live: null, ended },
  asked,
  gone,
});
const names = (runs: readonly Run[]): string[] => runs.map((one) => one.run);
const any = (): boolean => true;

describe("Listing", () => {
  it("adds what news tell of, and takes out what is gone", () => {
    const listing = new Listing(any, undefined);
    const first = pages(page("", run("a", 1), run("b", 2, "live")));
    expect(names(listing.update(first, undefined, true))).toEqual(["b", "a"]);
    const later = news(page("", run("c", 3), run("a", 1)), [run("b", 2)]);
    expect(names(listing.update(first, later, true))).toEqual(["c", "b", "a"]);
    expect(names(listing.update(first, news(page("", run("c", 3)), [], ["a"]), true))).toEqual(["c", "b"]);
    expect(listing.missed).toBe(false);
  });

  it("leaves new runs out while somebody looks further down, and counts them", () => {
    const listing = new Listing(any, undefined);
    const first = pages(page("", run("a", 1)));
    listing.update(first, undefined, true);
    const later = news(page("", run("b", 2), run("a", 1)));
    expect(names(listing.update(first, later, false))).toEqual(["a"]);
    expect(listing.fresh).toBe(1);
    expect(names(listing.update(first, later, true))).toEqual(["b", "a"]);
    expect(listing.fresh).toBe(0);
  });

  it("knows that runs were missed where news and pages do not meet", () => {
    const first = pages(page("", run("a", 1)));
    const far = news(page("more", run("y", 8), run("z", 9)));
    const listing = new Listing(any, undefined);
    listing.update(first, far, true);
    expect(listing.missed).toBe(true);
    // News that are older than the pages say nothing of it.
    const made = new Listing(any, far);
    made.update(first, far, true);
    expect(made.missed).toBe(false);
  });

  it("lets a run leave a list of certain states only where nothing can jump", () => {
    const listing = new Listing((state) => state === "failed", undefined);
    const first = pages(page("", run("a", 1, "failed")));
    listing.update(first, undefined, true);
    const later = news(page(""), [run("a", 1, "succeeded")]);
    expect(names(listing.update(first, later, false))).toEqual(["a"]);
    expect(names(listing.update(first, later, true))).toEqual([]);
  });
});
