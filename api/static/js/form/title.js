// The title that the video has in lists and as a file.

import { h } from "../dom.js";
import { field } from "../parts.js";
import { t } from "../text.js";

const LONGEST = 200;

/** The field of a form; it sets settings.title. `propose(file)` sets it to the file's name where nobody typed one. */
export function titleField(_subject, settings, changed) {
  const input = h("input", { type: "text", maxlength: LONGEST, value: settings.title, autocomplete: "off" });
  input.addEventListener("input", () => {
    settings.title = input.value.trim();
    changed();
  });
  const propose = (file) => {
    if (settings.title && settings.title !== settings.proposed) return;
    settings.title = settings.proposed = input.value = file ? titleOf(file.name) : "";
  };
  return { element: field(t("title"), input), words: () => settings.title, propose };
}

/** A file's name without its ending, and without characters that no title may have. */
const titleOf = (name) => name.replace(/\.[^.]+$/, "").replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, " ").trim().slice(0, LONGEST);
