import { describe, expect, it } from "vitest";
import { quotaTexts, tokenState } from "./tokens";
import { emptyDraft, problemsOf, wantedOf } from "./wanted";

describe("a token's form", () => {
  it("wants a name, and a namespace for each role", () => {
    expect(problemsOf(emptyDraft)).toEqual({ name: "Say what it is for" });
    expect(problemsOf({ ...emptyDraft, name: "ci" })).toEqual({});
    const grants = [...emptyDraft.grants, { role: "writer", namespaces: [] }];
    expect(problemsOf({ ...emptyDraft, name: "ci", grants }).grants).toContain("Name a namespace");
    const spaced = [{ role: "reader", namespaces: ["team a"] }];
    expect(problemsOf({ ...emptyDraft, name: "ci", grants: spaced }).grants).toContain("team a is neither");
  });

  it("sends bytes and seconds", () => {
    const wanted = wantedOf({ ...emptyDraft, name: " ci ", gibPerDay: 1.5, liveLogs: 7, lifetimeSeconds: "0" });
    expect(wanted.name).toBe("ci");
    expect(wanted.lifetime_seconds).toBe(0);
    expect(wanted.quota).toEqual({
      bytes_per_day: 1_610_612_736,
      stored_bytes: 0,
      live_logs: 7,
      requests_per_second: 0,
    });
  });
});

describe("a token in the list", () => {
  it("says what limits it", () => {
    const none = { bytes_per_day: 0, stored_bytes: 0, live_logs: 0, requests_per_second: 0 };
    expect(quotaTexts(none)).toEqual([]);
    expect(quotaTexts({ ...none, bytes_per_day: 1 << 30, live_logs: 5 })).toEqual(["1.0 GiB a day", "5 live logs"]);
  });

  it("is good until it is revoked or its time is up", () => {
    const token = { revoked_at: null, expires_at: null } as Parameters<typeof tokenState>[0];
    const now = Date.parse("2026-11-21T12:00:00Z");
    expect(tokenState(token, now)).toBe("good");
    expect(tokenState({ ...token, expires_at: "2026-11-21T12:00:00Z" }, now)).toBe("expired");
    expect(tokenState({ ...token, expires_at: "2026-11-21T12:00:01Z" }, now)).toBe("good");
    expect(tokenState({ ...token, revoked_at: "2026-11-21T11:00:00Z" }, now)).toBe("revoked");
  });
});
