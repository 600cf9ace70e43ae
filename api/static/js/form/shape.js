// The shape of the video, and how the frame gets it.

import { h } from "../dom.js";
import { field } from "../parts.js";
import { t } from "../text.js";

const SHAPES = ["source", "16:9", "9:16", "1:1", "4:5"];
const FITS = ["cover", "contain"];

/** The width of a shape by its height; null: that of the frame. */
export function ratio(aspect) {
  if (aspect === "source") return null;
  const [width, height] = aspect.split(":");
  return width / height;
}

/** The field of a form; it sets settings.aspect and settings.fit. */
export function shapeField(_subject, settings, changed) {
  const aspect = h("select", {}, SHAPES.map((each) => h("option", { value: each }, each === "source" ? t("shape.source") : each)));
  const fit = h("select", {}, FITS.map((each) => h("option", { value: each }, t(`fit.${each}`))));
  aspect.value = settings.aspect;
  fit.value = settings.fit;
  const fitting = field(t("fit"), fit);
  const element = h("div", { class: "pair" }, field(t("shape"), aspect), fitting);
  const show = () => (fitting.hidden = settings.aspect === "source");
  element.addEventListener("change", () => {
    Object.assign(settings, { aspect: aspect.value, fit: fit.value });
    show();
    changed();
  });
  show();
  return { element, words: () => (settings.aspect === "source" ? "" : settings.aspect) };
}
