// Numbers, durations and times as people of the browser's language write them.

import { locale } from "./text.js";

const unit = (name, digits = 0) =>
  new Intl.NumberFormat(locale, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: digits, minimumFractionDigits: digits });
const SECONDS = unit("second");
const MINUTES = unit("minute");
const HOURS = unit("hour");
const PERCENT = new Intl.NumberFormat(locale, { style: "percent" });
const DAYS = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
const TIME = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const DATE = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
const DAY_MS = 86_400_000;

/** Seconds in words: "40 sec", "3 min", "2 hr 5 min". */
export function duration(seconds) {
  if (seconds < 59.5) return SECONDS.format(Math.max(1, Math.round(seconds)));
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return MINUTES.format(minutes);
  return [HOURS.format(Math.floor(minutes / 60)), minutes % 60 && MINUTES.format(minutes % 60)].filter(Boolean).join(" ");
}

/** Seconds as on a player: "1:05". */
export function clock(seconds) {
  const whole = Math.floor(seconds || 0);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Bytes in words: "12 MB". */
export function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  let value = count;
  let k = 0;
  while (value >= 999.5 && k < 3) {
    value /= 1000;
    k += 1;
  }
  return unit(units[k], value < 9.95 && k ? 1 : 0).format(value);
}

/** A number with at most so many digits after the point. */
export const number = (value, digits = 0) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);

/** Width and height in pixels, which no line parts. */
export const pixels = (width, height) => `${width}\u00a0×\u00a0${height}`;

export const percent = (share) => PERCENT.format(Math.floor(share * 100) / 100);

/** Date and time; yesterday, today and tomorrow by these words. */
export function when(time) {
  const date = new Date(time);
  const days = Math.round((new Date(date).setHours(0, 0, 0, 0) - new Date().setHours(0, 0, 0, 0)) / DAY_MS);
  return Math.abs(days) <= 1 ? `${DAYS.format(days, "day")}, ${TIME.format(date)}` : DATE.format(date);
}
