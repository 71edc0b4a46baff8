import { describe, expect, it } from "vitest";
import { Rates, sinceText } from "./since";

const NOW = Date.parse("2026-11-21T12:00:00Z");

describe("sinceText", () => {
  it("tells past, future and never", () => {
    expect(sinceText("2026-11-21T11:59:57Z", NOW)).toBe("3 s ago");
    expect(sinceText("2026-11-21T11:59:59.5Z", NOW)).toBe("just now");
    expect(sinceText("2026-11-21T11:00:00Z", NOW)).toBe("1 h 0 min ago");
    expect(sinceText("2026-11-25T14:00:00Z", NOW)).toBe("in 4 days 2 h");
    expect(sinceText(null, NOW)).toBe("never");
  });
});

describe("Rates", () => {
  it("needs two samples, and forgets those of more than a minute ago", () => {
    const rates = new Rates();
    rates.note("w", 0, 1_000);
    expect(rates.of("w")).toBeNull();
    rates.note("w", 10_000, 21_000);
    expect(rates.of("w")).toBe(2_000);
    rates.note("w", 65_000, 21_000);
    expect(rates.of("w")).toBe(0);
    expect(rates.of("other")).toBeNull();
  });

  it("begins anew when a counter has become less, and leaves out the same sample twice", () => {
    const rates = new Rates();
    rates.note("w", 0, 5_000);
    rates.note("w", 1_000, 0);
    expect(rates.of("w")).toBeNull();
    rates.note("w", 1_000, 0);
    expect(rates.of("w")).toBeNull();
    rates.note("w", 2_000, 300);
    expect(rates.of("w")).toBe(300);
  });
});
