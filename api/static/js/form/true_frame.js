// The frame that the service renders for the preview: as the video will show it, a second or two after the last change.

import { request } from "../api.js";
import { h } from "../dom.js";
import { sleep } from "../jobs.js";

/** How long a choice has to stand before the service is asked, ms: a slider that moves asks for nothing. */
const STANDS_MS = 400;
/** How often the service is asked again for a frame that it has not rendered yet. */
const TRIES = 12;
/** Longest edge of a background picture that is sent: no preview shows more. */
const SENT_PX = 960;

/**
 * {element, ask(options, background), picture()}: an image, hidden where there is no frame of the newest choice, and its file or null. `shown(width, height)` hears that it is there,
 * `waiting(yes)` of the time until then.
 */
export function trueFrame(subject, signal, { shown, waiting }) {
  const element = h("img", { class: "true", alt: "", hidden: true });
  let asked = null;
  let file = null;
  let asking = new AbortController();
  signal.addEventListener("abort", () => asking.abort());

  const ask = (options, background) => {
    const wanted = JSON.stringify([options, background && [background.name, background.size, background.lastModified]]);
    if (wanted === asked) {
      if (!element.hidden) shown(element.naturalWidth, element.naturalHeight);
      return;
    }
    asked = wanted;
    asking.abort();
    asking = new AbortController();
    element.hidden = true;
    file = null;
    waiting(true);
    const mine = AbortSignal.any([signal, asking.signal]);
    look(options, background, mine)
      .catch(() => null) // the rough preview stays
      .then((picture) => mine.aborted || show(picture));
  };
  const look = async (options, background, mine) => {
    await sleep(STANDS_MS / 1000, mine);
    const form = new FormData();
    form.set("options", JSON.stringify(options));
    if (background) form.set("background", await smaller(background), "background.jpg");
    for (let k = 0; k < TRIES; k += 1) {
      const response = await request(`/v1/subjects/${subject.id}/preview-frame`, { method: "POST", body: form, signal: mine });
      if (response.status === 200) return response.blob();
      await sleep(Number(response.headers.get("Retry-After")) || 1, mine);
    }
    return null;
  };
  const show = async (picture) => {
    waiting(false);
    file = picture;
    if (!picture) return;
    const before = element.src;
    element.src = URL.createObjectURL(picture);
    await element.decode().catch(() => {});
    if (before) URL.revokeObjectURL(before);
    element.hidden = false;
    shown(element.naturalWidth, element.naturalHeight);
  };
  signal.addEventListener("abort", () => element.src && URL.revokeObjectURL(element.src));
  return { element, ask, picture: () => file };
}

/** A picture scaled down to what a preview can show, as JPEG; what is transparent becomes white, as in the video. */
async function smaller(file) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, SENT_PX / Math.max(picture.width, picture.height));
  const canvas = h("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}
