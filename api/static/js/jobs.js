// Following what is in work, by polling: short requests hold no connection, of which a browser has six for all tabs together.

import { backAgain } from "./api.js";

const ENDED = ["succeeded", "failed", "cancelled"];
/** Seconds between two looks at what is in work, and at what rests. */
const BUSY_S = 1;
const IDLE_S = 15;
/** Seconds between two looks while nobody sees the page: often enough for its title and for the notification at the end. */
const HIDDEN_S = 5;

export const active = (job) => !ENDED.includes(job.state);

/**
 * Calls `look()` again and again until `signal` says that the view is left: each second while `busy()`, else now and then; while the page is
 * hidden only if `busy()`. A service that is away is asked again as soon as it is back. `failed(error)` hears of refusals.
 */
export async function follow(busy, look, signal, failed = () => {}) {
  while (!signal.aborted) {
    await pause(busy, signal);
    if (signal.aborted) return;
    try {
      await look();
    } catch (error) {
      if (!signal.aborted && error.code !== "network") failed(error);
    }
  }
}

/** Resolves when it is time for the next look, or the view is left. */
function pause(busy, signal) {
  return new Promise((resolve) => {
    const begun = Date.now();
    const end = () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", seen);
      backAgain.removeEventListener("back", end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const seen = () => document.hidden || end();
    const due = () => (document.hidden ? (busy() ? HIDDEN_S : Infinity) : busy() ? BUSY_S : IDLE_S);
    const timer = setInterval(() => Date.now() - begun >= due() * 1000 && end(), 250);
    document.addEventListener("visibilitychange", seen);
    backAgain.addEventListener("back", end);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}

/** Resolves after `seconds`; rejects with the reason of `signal` when that says so. */
export function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
