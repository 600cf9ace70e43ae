// Requests to the service. Problems become errors with a remedy; the API key is added once the user has entered it.

const KEY = "adnerf-key";

/** What the service, or the way to it, has refused. `message` says what to do about it. */
export class Problem extends Error {
  constructor(message, { code = "network", status = 0, errors = [], retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { code, status, errors, retryAfter });
  }
}

let askForKey = async () => null;

/** Sets the function that asks the person for an API key; it resolves to the key, or to null. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** The API key of this tab, or null. */
export const key = () => sessionStorage.getItem(KEY);

/** Keeps an API key until the tab is closed; null forgets it. */
export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
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
    if (given) setKey(given);
    else if (key() === used) return response; // no key was given, nor taken from the address meanwhile
  }
  return send(path, options);
}

async function sendOnce(path, options, used) {
  const headers = new Headers(options.headers);
  if (used) headers.set("Authorization", `Bearer ${used}`);
  try {
    return await fetch(path, { cache: "no-store", ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service does not answer. Check that it runs and that you are connected, then try again.");
  }
}

/** The Problem that a response tells. */
export async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const type = response.headers.get("Content-Type") ?? "";
  if (!type.includes("json")) {
    return new Problem(`The service answered ${response.status}. Try again in a moment.`, { status: response.status, retryAfter });
  }
  const told = await response.json();
  return new Problem(told.detail, { code: told.code, status: response.status, errors: told.errors ?? [], retryAfter });
}

/** The JSON of GET `path`. */
export async function read(path, options = {}) {
  return (await request(path, options)).json();
}

/** Sends `body` (FormData, or a value that becomes JSON) and gives the JSON of the answer, or null where there is none. */
export async function write(method, path, body = undefined, headers = {}) {
  const form = body instanceof FormData;
  const response = await request(path, {
    method,
    body: form || body === undefined ? body : JSON.stringify(body),
    headers: form || body === undefined ? headers : { "Content-Type": "application/json", ...headers },
  });
  return response.status === 204 ? null : response.json();
}

/** All items of a list, newest first, page after page, `most` at the most. */
export async function list(path, { signal, most = 300 } = {}) {
  const items = [];
  let cursor = null;
  do {
    const query = new URLSearchParams({ limit: 100, ...(cursor ? { cursor } : {}) });
    const page = await read(`${path}${path.includes("?") ? "&" : "?"}${query}`, { signal });
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && items.length < most);
  return items;
}

const tags = new WeakMap();

/** Shows the picture at `path` in `image`, if it is another than before; the old one stays until the new one is there. */
export async function picture(image, path, signal) {
  const before = tags.get(image);
  const headers = before ? { "If-None-Match": before.tag } : {};
  const response = await request(path, { signal, headers });
  if (response.status === 304) return;
  const url = URL.createObjectURL(await response.blob());
  tags.set(image, { tag: response.headers.get("ETag"), url });
  image.src = url;
  await image.decode().catch(() => {});
  if (before) URL.revokeObjectURL(before.url);
}

/** An address for `<video>` and downloads: the service's own, or with a key (which no element can send) a copy in memory. */
export async function mediaUrl(path, signal) {
  if (!key()) return path;
  return URL.createObjectURL(await (await request(path, { signal })).blob());
}
