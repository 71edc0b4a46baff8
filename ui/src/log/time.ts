// When a line was written, in the ways people want to see it.

export type TimeStyle = "none" | "clock" | "utc" | "start" | "ago";

export const timeStyles: readonly { value: TimeStyle; label: string }[] = [
  { value: "none", label: "No times" },
  { value: "clock", label: "Local time" },
  { value: "utc", label: "UTC" },
  { value: "start", label: "Since the start" },
  { value: "ago", label: "How long ago" },
];

const two = (number: number): string => String(number).padStart(2, "0");

export function durationText(milliseconds: number): string {
  const sign = milliseconds < 0 ? "-" : "";
  const all = Math.abs(milliseconds);
  const seconds = Math.floor(all / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const rest = `${two(seconds % 60)}.${String(Math.floor(all % 1000)).padStart(3, "0")}`;
  return hours > 0 ? `${sign}${hours}:${two(minutes)}:${rest}` : `${sign}${minutes}:${rest}`;
}

export function agoText(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} days ago`;
}

export function timeText(timeUs: number, style: TimeStyle, startUs: number, nowMs = Date.now()): string {
  if (timeUs === 0 || style === "none") return "";
  const milliseconds = Math.floor(timeUs / 1000);
  if (style === "start") return durationText(milliseconds - Math.floor(startUs / 1000));
  if (style === "ago") return agoText(nowMs - milliseconds);
  const when = new Date(milliseconds);
  if (style === "utc") return when.toISOString().replace("T", " ");
  const date = `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}`;
  const clock = `${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
  return `${date} ${clock}.${String(milliseconds % 1000).padStart(3, "0")}`;
}
