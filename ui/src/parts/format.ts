// Sizes, times and durations for people.

import { currentZone, timeIn } from "./zone";

export function bytesText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = "B";
  for (const next of units) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

export function countText(count: number): string {
  return count.toLocaleString("en-US").replaceAll(",", "\u202f");
}

export function spanText(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return days < 14 ? `${days} days ${hours % 24} h` : `${countText(days)} days`;
}

interface Kept {
  policy: string;
  due_at: string | null;
  held_by: string[];
  says: string;
}

/** How long a run and its logs are kept, as "kept for ever". */
export function keptText(kept: Kept): string {
  if (kept.held_by.length > 0) return `kept on legal hold (${kept.held_by.join(", ")})`;
  if (kept.due_at) return `kept until ${momentText(kept.due_at)} (${kept.policy})`;
  return kept.says;
}

/** The time of a day, with the day where that is another one. */
export function clockText(milliseconds: number, now = Date.now()): string {
  const zone = currentZone();
  const text = timeIn(zone, milliseconds);
  return text.slice(0, 10) === timeIn(zone, now).slice(0, 10) ? text.slice(11) : text;
}

/** In the time zone that was chosen, to the second, the same in every language. */
export function momentText(moment: string | null | undefined): string {
  if (!moment) return "–";
  const when = Date.parse(moment);
  return Number.isNaN(when) ? moment : timeIn(currentZone(), when);
}
