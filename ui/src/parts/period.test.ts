import { describe, expect, it } from "vitest";
import { anyTime, rangeOf } from "./period";

const NOW = Date.parse("2026-11-21T12:00:59Z");

describe("rangeOf", () => {
  it("reaches back from now, to the minute", () => {
    expect(rangeOf({ ...anyTime, name: "day" }, NOW)).toEqual({
      createdFrom: "2026-11-20T12:00:00.000Z",
      createdBefore: "",
    });
    expect(rangeOf({ ...anyTime, name: "day" }, NOW - 50_000)).toEqual(rangeOf({ ...anyTime, name: "day" }, NOW));
  });

  it("takes local times, and leaves open what is not given or is none", () => {
    const from = new Date(2026, 0, 31, 12, 0).toISOString();
    expect(rangeOf({ name: "between", from: "2026-01-31T12:00", until: "" }, NOW)).toEqual({
      createdFrom: from,
      createdBefore: "",
    });
    expect(rangeOf({ name: "between", from: "never", until: "2026-01-31T12:00" }, NOW)).toEqual({
      createdFrom: "",
      createdBefore: from,
    });
    expect(rangeOf(anyTime, NOW)).toEqual({ createdFrom: "", createdBefore: "" });
  });
});
