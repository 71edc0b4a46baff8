import { describe, expect, it } from "vitest";
import { byAttention, concernsOf, type KnownWorker } from "./concerns";

const NOW = Date.parse("2026-11-21T12:00:00Z");
const at = (seconds: number): string => new Date(NOW + seconds * 1_000).toISOString();

function worker(worker_id: string, more: Partial<KnownWorker> = {}): KnownWorker {
  return {
    worker_id,
    host: "h",
    version: "1",
    connected: true,
    last_seen_at: at(-2),
    spool_bytes: 0,
    spool_limit_bytes: 1_000,
    logs: 0,
    received_bytes: 0,
    lag_seconds: 0,
    certificate: {
      serial: "1",
      worker_id,
      token_id: "t",
      issued_at: at(-3_600),
      expires_at: at(82_800),
      revoked_at: null,
    },
    ...more,
  };
}

const texts = (one: KnownWorker): string =>
  concernsOf(one, NOW)
    .map((concern) => concern.text)
    .join("; ");

describe("concernsOf", () => {
  it("has none about a worker that is well, or gone with nothing left", () => {
    expect(texts(worker("w"))).toBe("");
    expect(texts(worker("w", { connected: false, last_seen_at: at(-86_400) }))).toBe("");
  });

  it("tells of a spool that fills, of logs that went away, of silence and lag", () => {
    expect(texts(worker("w", { spool_bytes: 700 }))).toBe("its spool fills");
    expect(texts(worker("w", { spool_bytes: 960 }))).toContain("is full");
    expect(texts(worker("w", { connected: false, logs: 1 }))).toContain("went away");
    expect(texts(worker("w", { last_seen_at: at(-61) }))).toContain("silent");
    expect(texts(worker("w", { lag_seconds: 120, spool_bytes: 5 }))).toContain("2 min 0 s behind");
    expect(texts(worker("w", { lag_seconds: 120 }))).toBe("");
  });

  it("tells of certificates that are not renewed, by their own life", () => {
    const { certificate } = worker("w");
    if (!certificate) throw new Error("it has one");
    const ending = { ...certificate, issued_at: at(-82_800), expires_at: at(3_600) };
    expect(texts(worker("w", { certificate: ending }))).toContain("expires in 1 h");
    expect(texts(worker("w", { certificate: { ...certificate, expires_at: at(-1) } }))).toContain("has expired");
    expect(texts(worker("w", { certificate: { ...certificate, revoked_at: at(-1) } }))).toContain("revoked");
    expect(texts(worker("w", { connected: false, certificate: ending }))).toBe("");
    expect(texts(worker("w", { certificate: null }))).toBe("");
  });
});

describe("byAttention", () => {
  it("puts what is wrong before what may become so, then the connected, then the gone by when they were heard of", () => {
    const workers = [
      worker("b"),
      worker("gone-long", { connected: false, last_seen_at: at(-900) }),
      worker("gone", { connected: false, last_seen_at: at(-90) }),
      worker("filling", { spool_bytes: 800 }),
      worker("a"),
      worker("lost", { connected: false, logs: 3 }),
      worker("full", { spool_bytes: 1_000 }),
    ];
    expect(byAttention(workers, NOW).map((one) => one.worker_id)).toEqual([
      "full",
      "lost",
      "filling",
      "a",
      "b",
      "gone",
      "gone-long",
    ]);
  });
});
