// The time zone that times are shown in and typed in: the browser's own, unless another one was chosen.

import { useSyncExternalStore } from "react";

const KEY = "joblog-zone";
/** That of the browser. */
export const LOCAL = "";
export const UTC = "UTC";

const formats = new Map<string, Intl.DateTimeFormat>();

/** Raises RangeError for what is no time zone. */
function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone);
  if (known !== undefined) return known;
  const options: Intl.DateTimeFormatOptions = {
    calendar: "iso8601",
    numberingSystem: "latn",
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  };
  const made = new Intl.DateTimeFormat("en-US", zone === LOCAL ? options : { ...options, timeZone: zone });
  formats.set(zone, made);
  return made;
}

export function isZone(zone: string): boolean {
  try {
    formatOf(zone);
    return true;
  } catch {
    return false;
  }
}

/** What zones are called today that some browsers list by an older name alone, though they know both. */
const renamed: readonly string[] = [
  "Africa/Asmara",
  "America/Argentina/Buenos_Aires",
  "America/Argentina/Catamarca",
  "America/Argentina/Cordoba",
  "America/Argentina/Jujuy",
  "America/Argentina/Mendoza",
  "America/Atikokan",
  "America/Indiana/Indianapolis",
  "America/Kentucky/Louisville",
  "America/Nuuk",
  "Asia/Ho_Chi_Minh",
  "Asia/Kathmandu",
  "Asia/Kolkata",
  "Asia/Yangon",
  "Atlantic/Faroe",
  "Europe/Kyiv",
  "Pacific/Chuuk",
  "Pacific/Kanton",
  "Pacific/Pohnpei",
];

/** All zones by their IANA names, UTC first. */
export function allZones(): readonly string[] {
  const listed = Intl.supportedValuesOf("timeZone");
  const named = new Set([...listed, ...renamed.filter(isZone)]);
  named.delete(UTC);
  return [UTC, ...[...named].sort()];
}

/** The IANA name of the browser's own. */
export function localZone(): string {
  return formatOf(LOCAL).resolvedOptions().timeZone;
}

/** Date and time of day in a zone, to the second: 2026-01-31 12:00:00. */
export function timeIn(zone: string, milliseconds: number): string {
  const parts: Record<string, string> = {};
  for (const { type, value } of formatOf(zone).formatToParts(milliseconds)) parts[type] = value;
  const year = (parts.year ?? "").padStart(4, "0");
  return `${year}-${parts.month}-${parts.day} ${parts.hour}:${parts.minute}:${parts.second}`;
}

/** How far a zone's clocks are ahead of UTC at a time, in milliseconds. */
function ahead(zone: string, milliseconds: number): number {
  const second = Math.floor(milliseconds / 1000) * 1000;
  return Date.parse(`${timeIn(zone, second).replace(" ", "T")}Z`) - second;
}

/** When a zone's clocks show a time, as 2026-01-31T12:00; NaN where that is none. Of two such times one. */
export function momentIn(zone: string, clock: string): number {
  const shown = Date.parse(`${clock}Z`);
  if (Number.isNaN(shown)) return Number.NaN;
  // What clocks show there a little earlier or later tells which side of a change it is on.
  const guess = shown - ahead(zone, shown);
  return shown - ahead(zone, guess);
}

const listeners = new Set<() => void>();
let chosen = read();

function read(): string {
  try {
    const zone = localStorage.getItem(KEY) ?? LOCAL;
    return isZone(zone) ? zone : LOCAL;
  } catch {
    return LOCAL;
  }
}

export function currentZone(): string {
  return chosen;
}

function take(zone: string): void {
  if (zone === chosen) return;
  chosen = zone;
  for (const listener of listeners) listener();
}

/** Chooses a zone, for all pages of this browser, until another one is chosen. */
export function chooseZone(zone: string): void {
  try {
    if (zone === LOCAL) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, zone);
  } catch {
    // A browser that keeps nothing shows it until the page is closed.
  }
  take(zone);
}

// Chosen in another tab.
window.addEventListener("storage", (event) => {
  if (event.key === KEY || event.key === null) take(read());
});

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The zone that was chosen; who uses it is rendered again when that changes. */
export function useZone(): string {
  return useSyncExternalStore(subscribe, currentZone);
}
