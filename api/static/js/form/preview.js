// The preview: the frame that will be made, in its shape, with the view, background and label that are chosen.

import { mediaUrl, picture } from "../api.js";
import { h } from "../dom.js";
import { t } from "../text.js";
import { backgroundWords, viewWords } from "../words.js";
import { frameOf, needsPortrait } from "./frame.js";
import { ratio } from "./shape.js";
import { trueFrame } from "./true_frame.js";

/** Where in the footage the still is, seconds: the first frames of many recordings are dark. */
const STILL_S = 0.5;

/**
 * {element, update(), picture()}: the last is the file of the true frame, if it is there. `turn(x, y)` hears of a drag over the portrait, in shares of width and height. What the browser can draw is shown until the
 * service has rendered the true frame of `optionsOf(settings)`.
 */
export function preview(subject, settings, signal, turn, optionsOf) {
  const still = h("video", { class: "still", muted: true, playsinline: true, preload: "auto", tabindex: -1, "aria-hidden": "true" });
  const person = h("canvas", { class: "person" });
  const portrait = h("div", { class: "portrait-of" }, person);
  const label = h("span", { class: "preview-label" }, t("label.ai"));
  const caption = h("figcaption", { class: "faint small" });
  const rendered = trueFrame(subject, signal, {
    shown: (width, height) => {
      box.style.setProperty("--shape", width / height);
      caption.textContent = t("preview.true");
    },
    waiting: (yes) => box.classList.toggle("coming", yes),
  });
  const box = h("div", { class: "preview-box", role: "img" }, still, portrait, label, rendered.element);
  const sheet = h("img", { alt: "" });
  let image = null;
  let broken = !subject.links.footage;

  const update = () => {
    const full = frameOf(settings, subject) === "full";
    const { width, height } = (full && subject.full_frame) || { width: 1, height: 1 };
    box.style.setProperty("--shape", ratio(settings.aspect) ?? width / height);
    box.style.setProperty("--fit", settings.fit);
    still.hidden = !full || broken;
    portrait.hidden = !still.hidden;
    label.hidden = !settings.label;
    label.dir = "auto";
    box.setAttribute("aria-label", [subject.name, viewWords(settings.view), backgroundWords(settings.background)].filter(Boolean).join(", "));
    const behind = settings.background.kind !== "original" && !subject.views?.masks;
    caption.textContent = t(full ? "preview.full" : behind ? "preview.filmed" : "preview.portrait");
    if (!portrait.hidden) drawPortrait();
    askForFrame();
  };
  /** A choice that cannot be rendered is refused by the form itself. */
  const askForFrame = () => {
    const { kind, file } = settings.background;
    if ((kind === "image" && !file) || (settings.frame === "full" && needsPortrait(settings))) return;
    const { captions: _unseen, ...options } = optionsOf(settings);
    rendered.ask(options, kind === "image" ? file : null);
  };
  const drawPortrait = () => {
    const { kind, color, file } = settings.background;
    portrait.className = `portrait-of ${kind === "transparent" ? "clear" : ""}`;
    portrait.style.backgroundColor = kind === "color" ? color : "";
    if (image?.file !== file) {
      if (image) URL.revokeObjectURL(image.url);
      image = file ? { file, url: URL.createObjectURL(file) } : null;
    }
    portrait.style.backgroundImage = kind === "image" && image ? `url("${image.url}")` : "";
    person.style.setProperty("--tilt", `${settings.view.roll_deg}deg`);
    person.style.setProperty("--zoom", settings.view.zoom);
    if (sheet.naturalWidth) drawTile(person, sheet, subject.views, settings);
  };

  still.addEventListener("error", () => ((broken = true), update()));
  if (subject.links.views) picture(sheet, subject.links.views, signal).then(update, () => {});
  if (subject.full_frame && subject.links.footage) {
    mediaUrl(subject.links.footage, signal).then((url) => (still.src = `${url}#t=${STILL_S}`), () => {});
  }
  signal.addEventListener("abort", () => still.removeAttribute("src"));
  drag(portrait, turn);
  update();
  return { element: h("figure", { class: "preview" }, box, caption), update, picture: rendered.picture };
}

/** Draws the picture of the sheet that is nearest to the view; its background is left away if another was chosen and the sheet has masks. */
function drawTile(canvas, sheet, layout, { view, background }) {
  const { columns, rows, yaw_deg, pitch_deg, masks } = layout;
  const column = nearest(yaw_deg, view.yaw_deg);
  const row = nearest(pitch_deg, view.pitch_deg);
  const edge = sheet.naturalWidth / columns;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  canvas.width = canvas.height = edge;
  pen.drawImage(sheet, column * edge, row * edge, edge, edge, 0, 0, edge, edge);
  if (!masks || background.kind === "original") return;
  const shown = pen.getImageData(0, 0, edge, edge);
  pen.drawImage(sheet, column * edge, (rows + row) * edge, edge, edge, 0, 0, edge, edge);
  const mask = pen.getImageData(0, 0, edge, edge).data;
  for (let k = 0; k < mask.length; k += 4) shown.data[k + 3] = mask[k];
  pen.putImageData(shown, 0, 0);
}

/** Turns by dragging the picture, too; the sliders do the same by keyboard, and a finger scrolls. */
function drag(frame, turn) {
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") return;
    frame.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  frame.addEventListener("pointermove", (event) => {
    if (!frame.hasPointerCapture(event.pointerId)) return;
    const place = frame.getBoundingClientRect();
    turn((event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height);
  });
}

function nearest(angles, wanted) {
  return angles.reduce((best, angle, k) => (Math.abs(angle - wanted) < Math.abs(angles[best] - wanted) ? k : best), 0);
}
