// Bundles: files that carry people from one service to another.

import { Problem, request, write } from "./api.js";
import { announce, h } from "./dom.js";
import { bytes } from "./format.js";
import { bar } from "./parts.js";
import { t } from "./text.js";
import { send } from "./upload_progress.js";
import { safeName } from "./words.js";

/** Seconds until the service answers: it reads a bundle as a whole first. */
const LIMIT_S = 600;

/** Whether a file can be a bundle, by its name. */
export const isBundle = (file) => /\.zip$/i.test(file.name);

/** Exports `subject` and saves the bundle; `place` shows how much of it has come. Raises Problem, and AbortError if it was cancelled. */
export async function saveBundle(subject, place, signal) {
  const stop = new AbortController();
  const ended = AbortSignal.any([stop.signal, signal]);
  const progress = bar(t("bundle.exporting", { name: subject.name }));
  progress.update({ share: null });
  const cancel = h("button", { class: "button small quiet", type: "button", onclick: () => stop.abort() }, t("cancel"));
  place.replaceChildren(h("div", { class: "sending" }, progress, h("div", { class: "row" }, cancel)));
  cancel.focus();
  try {
    const response = await request(`${subject.links.self}/export`, { method: "POST", signal: ended, limit_s: LIMIT_S });
    let size = 0;
    const count = (piece, out) => {
      size += piece.length;
      progress.update({ share: null, right: bytes(size) });
      out.enqueue(piece);
    };
    const counted = response.body.pipeThrough(new TransformStream({ transform: count }));
    const bundle = await new Response(counted).blob().catch(() => {
      ended.throwIfAborted();
      throw new Problem(t("bundle.cut"));
    });
    const url = URL.createObjectURL(bundle);
    signal.addEventListener("abort", () => URL.revokeObjectURL(url));
    h("a", { href: url, download: `${safeName(subject.name)}.zip` }).click();
    announce(t("bundle.exported", { name: subject.name }));
  } finally {
    place.replaceChildren();
  }
}

/** Sends a bundle, showing it in `place`, and resolves to the person that is in it. Raises what `send` does. */
export function importBundle(file, place, signal) {
  return send(file, place, signal, (uploaded) => {
    const form = new FormData();
    form.set("upload_id", uploaded);
    return write("POST", "/v1/subjects/import", form, { "Idempotency-Key": uploaded }, LIMIT_S);
  });
}
