// Sizes, times and durations for people.

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
  return `${Math.floor(hours / 24)} days ${hours % 24} h`;
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

const two = (number: number): string => String(number).padStart(2, "0");

/** The time of a day, with the day where that is another one. */
export function clockText(milliseconds: number, now = Date.now()): string {
  const text = momentText(new Date(milliseconds).toISOString());
  return new Date(milliseconds).toDateString() === new Date(now).toDateString() ? text.slice(11) : text;
}

/** In local time, to the second, the same in every language. */
export function momentText(moment: string | null | undefined): string {
  if (!moment) return "–";
  const when = new Date(moment);
  if (Number.isNaN(when.getTime())) return moment;
  const date = `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}`;
  return `${date} ${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
}
