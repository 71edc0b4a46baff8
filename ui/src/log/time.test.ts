import { describe, expect, it } from "vitest";
import { timeText } from "./time";

const WHEN_MS = Date.parse("2026-11-21T12:00:01.250Z");
const START_US = Date.parse("2026-11-21T10:59:00Z") * 1000;

describe("timeText", () => {
  it("tells when a line was written, in each way", () => {
    const text = (style: Parameters<typeof timeText>[1]) => timeText(WHEN_MS * 1000, style, START_US, WHEN_MS + 90_000);
    const when = new Date(WHEN_MS);
    expect(text("none")).toBe("");
    expect(text("utc")).toBe("2026-11-21 12:00:01.250Z");
    expect(text("start")).toBe("1:01:01.250");
    expect(text("ago")).toBe("1 min ago");
    expect(text("clock")).toBe(
      `${when.getFullYear()}-11-${when.getDate()} ${String(when.getHours()).padStart(2, "0")}:${String(when.getMinutes()).padStart(2, "0")}:01.250`,
    );
  });

  it("says nothing of a line whose time is not known", () => {
    expect(timeText(0, "utc", START_US)).toBe("");
  });

  it("tells of lines from before the start", () => {
    expect(timeText(START_US - 1_500_000, "start", START_US)).toBe("-0:01.500");
  });
});
