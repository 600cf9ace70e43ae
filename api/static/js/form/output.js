// Size and format of the file.

import { h } from "../dom.js";
import { field } from "../parts.js";
import { t } from "../text.js";

const SIZES = [128, 256, 512, 1024, 1280, 1920];
const LARGEST_PORTRAIT = 1024;

/** The field of a form; it sets settings.size and settings.format. */
export function outputField(subject, settings, changed) {
  const whole = subject.full_frame;
  const longest = Math.max(whole?.width ?? 0, whole?.height ?? 0, LARGEST_PORTRAIT);
  const sizes = SIZES.filter((each) => each <= longest).map((each) => h("option", { value: each }, `${each} px`));
  const size = h("select", {}, h("option", { value: "" }, t("size.own")), sizes);
  const format = h("select", {}, h("option", { value: "mp4" }, t("format.mp4")), h("option", { value: "webm" }, "WebM"));
  size.value = settings.size;
  format.value = settings.format;
  const hint = longest > LARGEST_PORTRAIT ? t("size.hint", { most: LARGEST_PORTRAIT }) : null;
  const element = h("div", { class: "pair" }, field(t("size"), size, hint), field(t("format"), format, t("format.hint")));
  element.addEventListener("change", () => {
    Object.assign(settings, { size: size.value, format: format.value });
    changed();
  });
  return { element, words: () => settings.size && `${settings.size} px` };
}
