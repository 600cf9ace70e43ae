// Following jobs: by server-sent events; if the stream breaks, by polling.

import { request } from "./api.js";

const ENDED = ["succeeded", "failed", "cancelled"];

export const active = (job) => !ENDED.includes(job.state);

/**
 * Calls `changed(job)` with every change of a job until it has ended. Survives a service that is away for a while.
 * Rejects with an AbortError when `signal` says so, and with a Problem when the job is gone.
 */
export async function watchJob(id, changed, signal) {
  let lastId = null;
  let pause = 1;
  for (;;) {
    try {
      const headers = { Accept: "text/event-stream", ...(lastId ? { "Last-Event-ID": lastId } : {}) };
      const response = await request(`/v1/jobs/${id}/events`, { signal, headers });
      for await (const event of events(response.body)) {
        lastId = event.id ?? lastId;
        pause = 1;
        const job = JSON.parse(event.data);
        changed(job);
        if (!active(job)) return;
      }
    } catch (error) {
      if (signal.aborted || (error.status >= 400 && error.status < 500 && error.status !== 429)) throw error;
      pause = Math.min(pause * 2, 20);
    }
    await sleep(pause, signal);
  }
}

/** Calls `look()` now and then every `seconds` (a number, or a function that tells it) while the page is seen. */
export async function every(seconds, look, signal) {
  for (;;) {
    if (!document.hidden) await look();
    await sleep(typeof seconds === "function" ? seconds() : seconds, signal);
  }
}

/** Resolves after `seconds`; rejects with the reason of `signal` when that says so. */
export function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
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

/** The events of a text/event-stream, as {id, data}. */
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      buffer = (buffer + value).replaceAll("\r\n", "\n");
      const blocks = buffer.split("\n\n");
      buffer = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event.data) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  const event = { id: null, data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (field === "id") event.id = value;
    if (field === "data") event.data += (event.data && "\n") + value;
  }
  return event;
}
