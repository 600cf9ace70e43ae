// The progress of an upload, with pause, resume and cancel.

import { h, icon } from "./dom.js";
import { bar } from "./parts.js";
import { Upload } from "./tus.js";
import { bytes, duration, percent } from "./format.js";
import { t } from "./text.js";
import { tabProgress } from "./waiting.js";

let uploading = null;

/** The name of the file that is on its way, or null. */
export const onItsWay = () => uploading;

/**
 * Sends `file`, showing it in `place`, and then resolves to what `use(id of the upload)` does.
 * Raises Problem, and AbortError if it was cancelled or `signal` says so. What has arrived waits for another try.
 */
export async function send(file, place, signal, use) {
  const progress = bar(t("upload.sending", { name: file.name }));
  const started = { at: Date.now(), sent: null };
  const upload = new Upload(file, ({ sent, total, state }) => {
    started.sent ??= sent;
    const pace = (sent - started.sent) / Math.max(Date.now() - started.at, 1);
    const left = state === "sending" && pace > 0 ? ` · ${t("time.left", { time: duration((total - sent) / pace / 1000) })}` : "";
    progress.update({
      share: sent / total,
      left: t(`upload.${state}`, { name: file.name }),
      right: `${bytes(sent)} / ${bytes(total)}, ${percent(sent / total)}${left}`,
    });
    tabProgress(sent / total);
    hold.replaceChildren(icon(state === "paused" ? "play" : "pause"), t(state === "paused" ? "upload.resume" : "upload.pause"));
  });
  const hold = h("button", {
    class: "button small",
    type: "button",
    onclick: () => (upload.paused ? upload.resume() : upload.pause()),
  });
  const stop = h("button", { class: "button small quiet", type: "button", onclick: () => upload.cancel() }, t("cancel"));
  hold.append(icon("pause"), t("upload.pause"));
  place.replaceChildren(h("div", { class: "sending" }, progress, h("div", { class: "row" }, hold, stop), h("p", { class: "faint small" }, t("upload.stay"))));
  hold.focus();
  const leave = () => upload.leave();
  uploading = file.name;
  const warn = (event) => event.preventDefault();
  signal.addEventListener("abort", leave);
  addEventListener("beforeunload", warn);
  try {
    const made = await use(await upload.send());
    upload.forget();
    return made;
  } catch (error) {
    if (["upload_used", "not_found"].includes(error.code)) upload.forget(); // another try begins anew
    throw error;
  } finally {
    uploading = null;
    tabProgress(null);
    signal.removeEventListener("abort", leave);
    removeEventListener("beforeunload", warn);
    place.replaceChildren();
  }
}
