import { describe, expect, it } from "vitest";
import type { SearchState } from "../log/use_search";
import { nothingWanted, parametersOf, progressText } from "./wanted";

const NOW = Date.parse("2026-11-21T12:00:30Z");

describe("parametersOf", () => {
  it("asks for the last runs that the other fields let through", () => {
    const wanted = { ...nothingWanted, text: "oom", last: 500, runText: "nightly", states: ["failed"] };
    expect(parametersOf(wanted, false, NOW)).toMatchObject({
      q: "oom",
      ignore_case: true,
      max_runs: 500,
      max_hits_per_log: 5,
      text: "nightly",
      state: ["failed"],
      created_from: "2026-11-14T12:00:00.000Z",
      created_before: "",
    });
  });

  it("asks for all runs, and all lines of a log, where no number is given", () => {
    expect(parametersOf({ ...nothingWanted, last: "", each: "" }, false, NOW)).toMatchObject({
      max_runs: 0,
      max_hits_per_log: 0,
    });
  });

  it("chooses nothing among runs in one that is named", () => {
    const asked = parametersOf({ ...nothingWanted, text: "oom", last: 5, states: ["live"] }, true, NOW);
    expect(Object.keys(asked)).not.toContain("max_runs");
    expect(Object.keys(asked)).not.toContain("created_from");
    expect(Object.keys(asked)).not.toContain("state");
  });
});

describe("progressText", () => {
  const state: SearchState = {
    found: [],
    running: true,
    at: 0,
    length: 0,
    logs: 30,
    runs: 12,
    runsTotal: 500,
    bytes: 2048,
    stopped: "",
    error: null,
  };

  it("tells of how many runs", () => {
    expect(progressText(state)).toBe("Searching: 0 lines found; 12 of 500 runs, 30 logs, 2.0 KiB searched");
    expect(progressText({ ...state, runsTotal: 0 })).toContain("; 12 runs, ");
    expect(progressText({ ...state, running: false, runs: 500 })).toContain("; 500 runs, ");
  });

  it("tells why it has ended before its end", () => {
    expect(progressText({ ...state, running: false, stopped: "you" })).toMatch(/12 of 500 runs, .*; stopped$/);
    expect(progressText({ ...state, running: false, stopped: "hits" })).toMatch(/; there are more$/);
    expect(progressText({ ...state, running: false, stopped: "time" })).toMatch(/; the time was up$/);
  });
});
