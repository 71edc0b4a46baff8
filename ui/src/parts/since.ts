// Times in relation to now, and rates from samples.

import { spanText } from "./format";

/** "3 s ago", "in 4 days 2 h"; "never" where there is no moment. */
export function sinceText(moment: string | null | undefined, now: number): string {
  if (!moment) return "never";
  const difference = now - Date.parse(moment);
  if (Math.abs(difference) < 1_000) return "just now";
  const span = spanText(Math.round(Math.abs(difference) / 1_000) * 1_000).replace(/^(\d)\.0 s/, "$1 s");
  return difference > 0 ? `${span} ago` : `in ${span}`;
}

interface Sample {
  at: number;
  value: number;
}

const WINDOW_MS = 60_000;

/** How fast counters grow, each over the samples of the last minute. */
export class Rates {
  private readonly samples = new Map<string, Sample[]>();

  /** A counter's value at a time in milliseconds. One that has become less began anew. */
  note(name: string, at: number, value: number): void {
    const known = this.samples.get(name) ?? [];
    const last = known.at(-1);
    if (last !== undefined && at <= last.at) return;
    const kept = last !== undefined && value < last.value ? [] : known.filter((sample) => sample.at >= at - WINDOW_MS);
    kept.push({ at, value });
    this.samples.set(name, kept);
  }

  /** Per second; null before there are two samples. */
  of(name: string): number | null {
    const known = this.samples.get(name) ?? [];
    const first = known[0];
    const last = known.at(-1);
    if (first === undefined || last === undefined || last.at === first.at) return null;
    return ((last.value - first.value) * 1_000) / (last.at - first.at);
  }
}
