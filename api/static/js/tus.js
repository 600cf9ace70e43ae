// Resumable uploads (tus 1.0): received bytes survive a pause, a broken connection and a reload of the page.

import { key, Problem, problemOf, request } from "./api.js";
import { sleep } from "./jobs.js";
import { t } from "./text.js";

const VERSION = { "Tus-Resumable": "1.0.0" };
const PATIENCE_S = 600;
/** Bytes sent at once: as much as is sent again, at most, after a cut. */
const CHUNK = 8 << 20;
/** A connection on which nothing moves for so long is taken for cut, ms. */
const STALLED_MS = 60_000;

const place = (file) => `adnerf-upload:${file.name}:${file.size}:${file.lastModified}`;

/** An unfinished upload of an earlier visit: {name, size, url}, or null. */
export function unfinished() {
  const entry = Object.keys(localStorage).find((name) => name.startsWith("adnerf-upload:"));
  return entry ? JSON.parse(localStorage.getItem(entry)) : null;
}

/** Forgets what is known of unfinished uploads. */
export function forgetUnfinished() {
  for (const name of Object.keys(localStorage)) {
    if (name.startsWith("adnerf-upload:")) localStorage.removeItem(name);
  }
}

/** One file on its way. `changed({sent, total, state, message})` hears of it; state: sending, paused, waiting, done. */
export class Upload {
  constructor(file, changed) {
    this.file = file;
    this.changed = changed;
    this.sent = 0;
    this.paused = null;
    this.ended = new AbortController();
  }

  /** Sends it all, however often the connection is cut. Resolves to the upload's id; raises Problem, AbortError. */
  async send() {
    const known = JSON.parse(localStorage.getItem(place(this.file)) ?? "null");
    this.url = known && (await this.#arrived(known.url)) ? known.url : await this.#create();
    let cutAt = null;
    while (this.sent < this.file.size) {
      try {
        await this.#next();
        cutAt = null;
      } catch (error) {
        if (this.ended.signal.aborted) throw this.ended.signal.reason;
        if (error.name === "AbortError") {
          await this.#pauses();
          await this.#arrived(this.url).catch(() => {}); // more may be there than was answered for
          continue;
        }
        const fatal = error.status >= 400 && error.status < 500 && ![408, 409, 423, 429].includes(error.status);
        cutAt ??= Date.now();
        if (fatal || Date.now() - cutAt > PATIENCE_S * 1000) throw error;
        this.#tell("waiting");
        await sleep(error.retryAfter ?? Math.min(1 + (Date.now() - cutAt) / 5000, 10), this.ended.signal);
        await this.#arrived(this.url).catch(() => {});
      }
    }
    this.#tell("done");
    return this.url.split("/").pop();
  }

  /** To be called once the upload was used, or cannot be: the same file would be sent anew. */
  forget() {
    localStorage.removeItem(place(this.file));
  }

  pause() {
    if (this.paused) return;
    this.paused = pause();
    this.xhr?.abort();
    this.#tell("paused");
  }

  resume() {
    this.paused?.resolve();
    this.paused = null;
    this.#tell("sending");
  }

  /** Stops for now; the same file goes on from what has arrived. */
  leave() {
    this.ended.abort(new DOMException("stopped", "AbortError"));
    this.paused?.resolve();
    this.xhr?.abort();
  }

  /** Gives it up; what has arrived is removed. */
  cancel() {
    this.leave();
    this.forget();
    if (this.url) request(this.url, { method: "DELETE", headers: VERSION }).catch(() => {});
  }

  async #create() {
    const text = (value) => btoa(String.fromCharCode(...new TextEncoder().encode(value)));
    const metadata = `filename ${text(this.file.name)},filetype ${text(this.file.type || "application/octet-stream")}`;
    const response = await request("/v1/uploads", {
      method: "POST",
      headers: { ...VERSION, "Upload-Length": this.file.size, "Upload-Metadata": metadata },
    });
    const url = new URL(response.headers.get("Location"), location.href).pathname;
    const { name, size } = this.file;
    localStorage.setItem(place(this.file), JSON.stringify({ name, size, url }));
    this.sent = 0;
    return url;
  }

  /** Learns how much is there; false where the service knows nothing of it (any more). */
  async #arrived(url) {
    try {
      const response = await request(url, { method: "HEAD", headers: VERSION, signal: this.ended.signal });
      this.sent = Number(response.headers.get("Upload-Offset"));
      return true;
    } catch (error) {
      if (error.status === 404 || error.status === 410) return false;
      throw error;
    }
  }

  async #pauses() {
    if (this.paused) await this.paused.promise;
    this.ended.signal.throwIfAborted();
  }

  /** Sends the next piece. XMLHttpRequest, because fetch does not tell how much has been sent. */
  #next() {
    const start = this.sent;
    const piece = this.file.slice(start, start + CHUNK);
    this.#tell("sending");
    return new Promise((resolve, reject) => {
      const xhr = (this.xhr = new XMLHttpRequest());
      xhr.open("PATCH", this.url);
      for (const [name, value] of Object.entries(VERSION)) xhr.setRequestHeader(name, value);
      if (key()) xhr.setRequestHeader("Authorization", `Bearer ${key()}`);
      xhr.setRequestHeader("Upload-Offset", start);
      xhr.setRequestHeader("Content-Type", "application/offset+octet-stream");
      let moved = Date.now();
      const watch = setInterval(() => {
        if (Date.now() - moved < STALLED_MS) return;
        reject(new Problem(t("upload.cut"))); // before it is aborted, which would be taken for a pause
        xhr.abort();
      }, 1000);
      xhr.onloadend = () => clearInterval(watch);
      xhr.upload.onprogress = (event) => {
        moved = Date.now();
        this.sent = start + Math.min(event.loaded, piece.size);
        this.#tell("sending");
      };
      xhr.onload = async () => {
        if (xhr.status === 204) {
          this.sent = Number(xhr.getResponseHeader("Upload-Offset"));
          resolve();
        } else reject(await problemOf(asResponse(xhr)));
      };
      xhr.onerror = () => reject(new Problem(t("upload.cut")));
      xhr.onabort = () => reject(new DOMException("stopped", "AbortError"));
      xhr.send(piece);
    });
  }

  #tell(state) {
    this.changed({ sent: this.sent, total: this.file.size, state });
  }
}

function asResponse(xhr) {
  const headers = Object.fromEntries(
    ["Content-Type", "Retry-After"].map((name) => [name, xhr.getResponseHeader(name) ?? ""]),
  );
  return new Response(xhr.responseText, { status: xhr.status || 500, headers });
}

function pause() {
  let resolve;
  const promise = new Promise((ended) => (resolve = ended));
  return { promise, resolve };
}
