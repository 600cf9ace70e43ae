// Bundles: files that carry people from one service to another.

import { mediaUrl, request, write } from "./api.js";
import { announce, h } from "./dom.js";
import { t } from "./text.js";
import { send } from "./upload_progress.js";

/** Seconds until the service answers: it reads a bundle as a whole first. */
const LIMIT_S = 600;

/** Whether a file can be a bundle, by its name. */
export const isBundle = (file) => /\.zip$/i.test(file.name);

/** Exports `subject`: the browser saves the bundle, as it comes, among its downloads. Raises Problem. */
export async function saveBundle(subject, signal) {
  const path = `${subject.links.self}/export`;
  const answer = await request(path, { signal, limit_s: LIMIT_S }); // a download does not tell why it was refused
  await answer.body.cancel();
  h("a", { href: await mediaUrl(path, signal), download: "" }).click();
  announce(t("bundle.exported", { name: subject.name }));
}

/** Sends a bundle, showing it in `place`, and resolves to the person that is in it. Raises what `send` does. */
export function importBundle(file, place, signal) {
  return send(file, place, signal, (uploaded) => {
    const form = new FormData();
    form.set("upload_id", uploaded);
    return write("POST", "/v1/subjects/import", form, { "Idempotency-Key": uploaded }, LIMIT_S);
  });
}
