import { describe, expect, it } from "vitest";
import { tokenState, usesOf } from "./tokens";
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
  it("says what is used of what it may", () => {
    const quota = { bytes_per_day: 0, stored_bytes: 0, live_logs: 0, requests_per_second: 0 };
    const use = { bytes_today: 0, stored_bytes: 0, live_logs: 0 };
    expect(usesOf({ quota, use })).toEqual([]);
    expect(usesOf({ quota, use: { ...use, live_logs: 2 } })).toEqual([{ text: "2 live logs", share: null }]);
    const limited = { ...quota, bytes_per_day: 1 << 30, requests_per_second: 9 };
    expect(usesOf({ quota: limited, use: { ...use, bytes_today: 1 << 29 } })).toEqual([
      { text: "512 MiB of 1.0 GiB today", share: 0.5 },
      { text: "at most 9 requests a second", share: null },
    ]);
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
