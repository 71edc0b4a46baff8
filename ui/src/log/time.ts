// When a line was written, in the ways people want to see it.

import { currentZone, LOCAL, timeIn, UTC } from "../parts/zone";

export type TimeStyle = "none" | "clock" | "utc" | "start" | "ago";

/** As they are called in a time zone. */
export function timeStyles(zone: string): { value: TimeStyle; label: string }[] {
  return [
    { value: "none", label: "No times" },
    { value: "clock", label: zone === LOCAL ? "Local time" : zone.replaceAll("_", " ") },
    ...(zone === UTC ? [] : [{ value: "utc" as const, label: UTC }]),
    { value: "start", label: "Since the start" },
    { value: "ago", label: "How long ago" },
  ];
}

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
  const rest = `.${String(milliseconds % 1000).padStart(3, "0")}`;
  return style === "utc" ? `${timeIn(UTC, milliseconds)}${rest}Z` : `${timeIn(currentZone(), milliseconds)}${rest}`;
}
