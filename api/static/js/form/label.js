// The label that tells viewers how the video was made.

import { h } from "../dom.js";
import { t } from "../text.js";

/** The field of a form; it sets settings.label. */
export function labelField(_subject, settings, changed) {
  const input = h("input", { type: "checkbox", checked: settings.label, onchange: () => ((settings.label = input.checked), changed()) });
  return { element: h("label", { class: "check" }, input, t("label.ask")), words: () => (settings.label ? `“${t("label.ai")}”` : "") };
}
