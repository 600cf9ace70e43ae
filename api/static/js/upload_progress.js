// The progress of an upload, with pause, resume and cancel.

import { h, icon } from "./dom.js";
import { bar } from "./parts.js";
import { Upload } from "./tus.js";
import { bytes, duration, percent } from "./strings.js";

const SAID = {
  sending: "Sending",
  paused: "Paused",
  waiting: "The connection was cut. It goes on by itself once it is back",
  done: "All there",
};

/**
 * Sends `file`, showing it in `place`, and then resolves to what `use(id of the upload)` does.
 * Raises Problem, and AbortError where it was called off or `signal` says so. What has arrived waits for another try.
 */
export async function send(file, place, signal, use) {
  const progress = bar(`Sending ${file.name}`);
  const started = { at: Date.now(), sent: null };
  const upload = new Upload(file, ({ sent, total, state }) => {
    started.sent ??= sent;
    const pace = (sent - started.sent) / Math.max(Date.now() - started.at, 1);
    const left = state === "sending" && pace > 0 ? ` · about ${duration((total - sent) / pace / 1000)} left` : "";
    progress.update({
      share: sent / total,
      left: `${SAID[state]}: ${file.name}`,
      right: `${bytes(sent)} of ${bytes(total)}, ${percent(sent / total)}${left}`,
    });
    hold.replaceChildren(icon(state === "paused" ? "play" : "pause"), state === "paused" ? "Go on" : "Pause");
  });
  const hold = h("button", {
    class: "button small",
    type: "button",
    onclick: () => (upload.paused ? upload.resume() : upload.pause()),
  });
  const stop = h("button", { class: "button small quiet", type: "button", onclick: () => upload.cancel() }, "Cancel");
  hold.append(icon("pause"), "Pause");
  place.replaceChildren(h("div", { class: "sending" }, progress, h("div", { class: "row" }, hold, stop)));
  hold.focus();
  const leave = () => upload.leave();
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
    signal.removeEventListener("abort", leave);
    removeEventListener("beforeunload", warn);
    place.replaceChildren();
  }
}
