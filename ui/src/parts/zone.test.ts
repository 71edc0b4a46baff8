import { afterEach, describe, expect, it } from "vitest";
import { timeText } from "../log/time";
import { clockText, momentText } from "./format";
import { rangeOf } from "./period";
import { allZones, chooseZone, currentZone, isZone, LOCAL, momentIn, timeIn } from "./zone";

const WINTER = Date.parse("2026-01-31T23:30:00Z");
const SUMMER = Date.parse("2026-07-31T23:30:00Z");

afterEach(() => chooseZone(LOCAL));

describe("timeIn", () => {
  it("shows a time as the clocks of a zone do", () => {
    expect(timeIn("UTC", WINTER)).toBe("2026-01-31 23:30:00");
    expect(timeIn("Asia/Kathmandu", WINTER)).toBe("2026-02-01 05:15:00");
    expect(timeIn("America/St_Johns", WINTER)).toBe("2026-01-31 20:00:00");
    expect(timeIn("Europe/Berlin", WINTER)).toBe("2026-02-01 00:30:00");
    expect(timeIn("Europe/Berlin", SUMMER)).toBe("2026-08-01 01:30:00");
  });
});

describe("momentIn", () => {
  it("is when the clocks of a zone show a time", () => {
    for (const zone of ["UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin", "Pacific/Kiritimati", LOCAL]) {
      for (const when of [WINTER, SUMMER]) {
        expect(momentIn(zone, timeIn(zone, when).replace(" ", "T")), zone).toBe(when);
      }
    }
    expect(momentIn("Europe/Berlin", "2026-01-31T12:00")).toBe(Date.parse("2026-01-31T11:00Z"));
    expect(momentIn("Europe/Berlin", "never")).toBeNaN();
    expect(momentIn("Europe/Berlin", "")).toBeNaN();
  });

  it("is right on both sides of a change of clocks", () => {
    const at = (clock: string) => new Date(momentIn("Europe/Berlin", clock)).toISOString();
    expect(at("2026-03-29T01:59")).toBe("2026-03-29T00:59:00.000Z");
    expect(at("2026-03-29T03:00")).toBe("2026-03-29T01:00:00.000Z");
    expect(at("2026-10-25T01:59")).toBe("2026-10-24T23:59:00.000Z");
    expect(at("2026-10-25T03:00")).toBe("2026-10-25T02:00:00.000Z");
    // Shown twice: one of both. Shown never: not far from it.
    expect(["2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"]).toContain(at("2026-10-25T02:30"));
    expect(["2026-03-29T00:30:00.000Z", "2026-03-29T01:30:00.000Z"]).toContain(at("2026-03-29T02:30"));
  });
});

describe("the zone that is chosen", () => {
  it("is that of all times that are shown or typed", () => {
    chooseZone("Asia/Kathmandu");
    expect(momentText("2026-01-31T23:30:00Z")).toBe("2026-02-01 05:15:00");
    expect(timeText((WINTER + 7) * 1000, "clock", 0)).toBe("2026-02-01 05:15:00.007");
    expect(timeText((WINTER + 7) * 1000, "utc", 0)).toBe("2026-01-31 23:30:00.007Z");
    expect(clockText(WINTER, WINTER + 60_000)).toBe("05:15:00");
    expect(clockText(Date.parse("2026-01-31T18:00Z"), WINTER)).toBe("2026-01-31 23:45:00");
    expect(rangeOf({ name: "between", from: "2026-02-01T05:15", until: "" }, WINTER).createdFrom).toBe(
      "2026-01-31T23:30:00.000Z",
    );
  });

  it("is kept in the browser, as long as it is one", () => {
    chooseZone("Europe/Berlin");
    expect(currentZone()).toBe("Europe/Berlin");
    expect(localStorage.getItem("joblog-zone")).toBe("Europe/Berlin");
    chooseZone(LOCAL);
    expect(localStorage.getItem("joblog-zone")).toBeNull();
    expect(isZone("Mars/Olympus_Mons")).toBe(false);
  });

  it("is taken from another tab", () => {
    localStorage.setItem("joblog-zone", "Asia/Tokyo");
    window.dispatchEvent(new StorageEvent("storage", { key: "joblog-zone" }));
    expect(currentZone()).toBe("Asia/Tokyo");
    localStorage.setItem("joblog-zone", "no zone");
    window.dispatchEvent(new StorageEvent("storage", { key: "joblog-zone" }));
    expect(currentZone()).toBe(LOCAL);
  });

  it("is one of those that the browser knows", () => {
    const zones = allZones();
    expect(zones[0]).toBe("UTC");
    // Also where the browser lists them by their older names alone.
    expect(zones).toEqual(expect.arrayContaining(["Asia/Kolkata", "Europe/Kyiv", "America/New_York"]));
    expect(new Set(zones).size).toBe(zones.length);
    expect(zones.every(isZone)).toBe(true);
  });
});
