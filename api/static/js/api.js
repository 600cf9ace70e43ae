// Requests to the service. Problems become errors with a remedy; the API key is added once the user has entered it.

import { has, t } from "./text.js";

const KEY = "adnerf-key";
/** Seconds until an answer must have begun: a service that stores a large file for somebody else may take some. */
const LIMIT_S = 20;

/** What the service, or the way to it, has refused. `message` says what to do about it. */
export class Problem extends Error {
  constructor(message, { code = "network", status = 0, errors = [], retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { code, status, errors, retryAfter });
  }
}

/** Dispatches "away" when the service stops answering, and "back" when it answers again. */
export const backAgain = new EventTarget();
let away = false;

/** Whether the last request got no answer. */
export const isAway = () => away;

/** Takes note of whether the service has answered. */
function note(answered) {
  if (away !== answered) return;
  away = !answered;
  backAgain.dispatchEvent(new Event(away ? "away" : "back"));
}

let askForKey = async () => null;

/** Sets the function that asks the person for an API key; it resolves to the key, or to null. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** The API key of this tab or of this browser, or null. */
export const key = () => sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);

/** Whether the key is kept for later visits. */
export const remembered = () => localStorage.getItem(KEY) !== null;

/** Keeps an API key until the tab is closed, or with `remember` for later visits; null forgets it. */
export function setKey(value, remember = false) {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
  if (value) (remember ? localStorage : sessionStorage).setItem(KEY, value);
}

/** What the local token, which `adnerf serve` prints, begins with. */
const LOCAL = "adnerf-local-";

/** Takes a local token as the key of this tab, unless there is an API key: a link must neither replace nor forget that. */
export function takeLocal(token) {
  if (token.startsWith(LOCAL) && !(key() && !key().startsWith(LOCAL))) setKey(token);
}

/** Forgets the key, and all else that this browser keeps: entries, files that were being sent. The next person is somebody else. */
export function signOut() {
  for (const storage of [sessionStorage, localStorage]) {
    for (const name of Object.keys(storage)) if (name.startsWith("adnerf-")) storage.removeItem(name);
  }
}

/** fetch with the key; asks for one where the service wants one, and goes on. Raises Problem where the answer is none. */
export async function request(path, options = {}) {
  const response = await send(path, options);
  if (response.ok || response.status === 304) return response;
  throw await problemOf(response);
}

let asking = null;

async function send(path, options) {
  const used = key();
  const response = await sendOnce(path, options, used);
  if (response.status !== 401) return response;
  if (key() === used) {
    asking ??= askForKey(used !== null).finally(() => (asking = null)); // many requests, one question
    const given = await asking;
    if (given) setKey(given.key, given.remember);
    else if (key() === used) return response; // no key was given, nor taken from the address meanwhile
  }
  return send(path, options);
}

async function sendOnce(path, { signal, limit_s: limit = LIMIT_S, ...options }, used) {
  const headers = new Headers(options.headers);
  if (used) headers.set("Authorization", `Bearer ${used}`);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), limit * 1000);
  try {
    const response = await fetch(path, { cache: "no-store", ...options, headers, signal: AbortSignal.any([late.signal, signal].filter(Boolean)) });
    note(true);
    return response;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    note(false);
    throw new Problem(t(late.signal.aborted ? "problem.late" : "problem.away"));
  } finally {
    clearTimeout(timer);
  }
}

/** The Problem that a response tells, in the page's words where it has some. */
export async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const type = response.headers.get("Content-Type") ?? "";
  if (!type.includes("json")) {
    return new Problem(t("problem.status", { status: response.status }), { code: "status", status: response.status, retryAfter });
  }
  const told = await response.json();
  const own = `problem.${told.code}`;
  return new Problem(has(own) ? t(own, told) : told.detail, { code: told.code, status: response.status, errors: told.errors ?? [], retryAfter });
}

const known = new Map();

/** The JSON of GET `path`. What has not changed since the last time is not sent again. */
export async function read(path, options = {}) {
  const before = known.get(path);
  const response = await request(path, { ...options, headers: before ? { "If-None-Match": before.tag } : {} });
  if (response.status === 304) return structuredClone(before.value);
  const value = await response.json();
  const tag = response.headers.get("ETag");
  if (tag) known.set(path, { tag, value: structuredClone(value) });
  return value;
}

/** Sends `body` (FormData, or a value that becomes JSON) and gives the JSON of the answer, or null where there is none. */
export async function write(method, path, body = undefined, headers = {}, limit_s = 60) {
  const form = body instanceof FormData;
  const response = await request(path, {
    method,
    body: form || body === undefined ? body : JSON.stringify(body),
    headers: form || body === undefined ? headers : { "Content-Type": "application/json", ...headers },
    limit_s, // a background picture travels with the form
  });
  return response.status === 204 ? null : response.json();
}

/** Times that a change is sent while the service changes the same thing: it writes once a second while it works on it. */
const CHANGES = 5;

/**
 * Changes fields of a thing (a subject or a video) that was read as `seen`; resolves to what it is now. Raises Problem where somebody else has
 * changed these fields since.
 */
export async function change(seen, fields) {
  const path = seen.links.self;
  for (let left = CHANGES; ; left--) {
    const current = await read(path);
    if (Object.keys(fields).some((name) => current[name] !== seen[name])) throw new Problem(t("problem.changed"), { code: "precondition_failed", status: 412 });
    try {
      return await write("PATCH", path, fields, { "If-Match": known.get(path).tag });
    } catch (error) {
      if (error.code !== "precondition_failed" || left === 1) throw error; // else it has changed in something else, such as its progress
    }
  }
}

/** A page of a list, newest first: {items, next_cursor}. */
export function page(path, { signal, limit = 100, cursor = null } = {}) {
  const query = new URLSearchParams({ limit, ...(cursor ? { cursor } : {}) });
  return read(`${path}${path.includes("?") ? "&" : "?"}${query}`, { signal });
}

/** All items of a list, newest first, page after page. */
export async function list(path, { signal } = {}) {
  const items = [];
  let cursor = null;
  do {
    const got = await page(path, { signal, cursor });
    items.push(...got.items);
    cursor = got.next_cursor;
  } while (cursor);
  return items;
}

const tags = new WeakMap();

/** Shows the picture at `path` in `image`, if it is another than before; the old one stays until the new one is there. */
export async function picture(image, path, signal) {
  const before = tags.get(image);
  const headers = before?.path === path ? { "If-None-Match": before.tag } : {};
  const response = await request(path, { signal, headers });
  if (response.status === 304) return;
  const url = URL.createObjectURL(await response.blob());
  tags.set(image, { path, tag: response.headers.get("ETag"), url });
  image.src = url;
  await image.decode().catch(() => {});
  if (before) URL.revokeObjectURL(before.url);
  else signal?.addEventListener("abort", () => URL.revokeObjectURL(tags.get(image).url), { once: true });
}

/**
 * An address for players and downloads, which can send no key: the service's own, or with a key a signed link. Where the service cannot sign, it
 * is a copy in memory.
 */
export async function mediaUrl(path, signal) {
  if (!key()) return path;
  try {
    return (await read(`/v1/links?${new URLSearchParams({ path })}`, { signal })).url;
  } catch (error) {
    if (error.code !== "shares_off") throw error;
  }
  const url = URL.createObjectURL(await (await request(path, { signal, limit_s: 60 })).blob());
  signal?.addEventListener("abort", () => URL.revokeObjectURL(url));
  return url;
}

/** `url`, as `mediaUrl` gives it, for a download that is called `name`. */
export const named = (url, name) => (url.startsWith("blob:") ? url : `${url}${url.includes("?") ? "&" : "?"}${new URLSearchParams({ name })}`);
