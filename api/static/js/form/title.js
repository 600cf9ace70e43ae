// The title that the video has in lists and as a file.

import { h } from "../dom.js";
import { field } from "../parts.js";
import { t } from "../text.js";

/** The field of a form; it sets settings.title. */
export function titleField(_subject, settings, changed) {
  const input = h("input", { type: "text", maxlength: 200, value: settings.title, autocomplete: "off" });
  input.addEventListener("input", () => {
    settings.title = input.value.trim();
    changed();
  });
  return { element: field(t("title"), input), words: () => settings.title };
}
