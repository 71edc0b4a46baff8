// What about a worker needs somebody's attention, and in which order workers stand.

import type { Schemas } from "../api/client";
import { spanText } from "../parts/format";

export type KnownWorker = Schemas["KnownWorker"];

export interface Concern {
  /** 2: something is going wrong; 1: it may soon. */
  weight: 1 | 2;
  text: string;
}

const SILENT_MS = 60_000;
const LAGGING_SECONDS = 60;
const HOUR_MS = 3_600_000;
// Of a certificate's life; renewal is due long before.
const LATE_SHARE = 0.15;

export function spoolShare(worker: KnownWorker): number {
  return worker.spool_limit_bytes > 0 ? Math.min(1, worker.spool_bytes / worker.spool_limit_bytes) : 0;
}

function certificateConcern(worker: KnownWorker, now: number): Concern | null {
  const certificate = worker.certificate;
  if (!certificate) return null;
  if (certificate.revoked_at) return { weight: 1, text: "its certificate is revoked" };
  if (!certificate.expires_at) return null;
  const left = Date.parse(certificate.expires_at) - now;
  if (left <= 0) return { weight: worker.connected ? 2 : 1, text: "its certificate has expired" };
  const life = certificate.issued_at ? Date.parse(certificate.expires_at) - Date.parse(certificate.issued_at) : HOUR_MS;
  if (left < life * LATE_SHARE) return { weight: 1, text: `its certificate expires in ${spanText(left)}` };
  return null;
}

/** now: the leader's, in milliseconds. */
export function concernsOf(worker: KnownWorker, now: number): Concern[] {
  const concerns: Concern[] = [];
  const silent = worker.last_seen_at ? now - Date.parse(worker.last_seen_at) : Number.POSITIVE_INFINITY;
  if (!worker.connected && (worker.logs > 0 || worker.spool_bytes > 0))
    concerns.push({ weight: 2, text: "went away with logs that are not all here" });
  if (worker.connected && silent > SILENT_MS) concerns.push({ weight: 1, text: "connected, and silent" });
  const share = spoolShare(worker);
  if (share >= 0.95) concerns.push({ weight: 2, text: "its spool is full: tasks wait, or lose output" });
  else if (share >= 0.7) concerns.push({ weight: 1, text: "its spool fills" });
  if (worker.connected && worker.lag_seconds >= LAGGING_SECONDS && worker.spool_bytes > 0)
    concerns.push({ weight: 1, text: `${spanText(worker.lag_seconds * 1_000)} behind` });
  const certificate = certificateConcern(worker, now);
  if (certificate && (worker.connected || worker.logs > 0)) concerns.push(certificate);
  return concerns;
}

function weightOf(worker: KnownWorker, now: number): number {
  const concerns = concernsOf(worker, now);
  return 2 * Math.max(0, ...concerns.map((concern) => concern.weight)) + (worker.connected ? 1 : 0);
}

/** What needs attention first, then who is connected, by name; those gone last, the one heard of last first. */
export function byAttention(workers: readonly KnownWorker[], now: number): KnownWorker[] {
  const weights = new Map(workers.map((worker) => [worker, weightOf(worker, now)]));
  return [...workers].sort((one, other) => {
    const heavier = (weights.get(other) ?? 0) - (weights.get(one) ?? 0);
    if (heavier !== 0) return heavier;
    if (!one.connected && !other.connected) return (other.last_seen_at ?? "").localeCompare(one.last_seen_at ?? "");
    return one.worker_id.localeCompare(other.worker_id);
  });
}
