// Captions: a file that players show, or letters in the picture.

import { h } from "../dom.js";
import { field } from "../parts.js";
import { t } from "../text.js";

const KINDS = ["none", "file", "burn"];

/** The `captions` of the request for a kind. */
export const captionsOf = (kind) => ({ file: "vtt", ...(kind === "burn" ? { burn: {} } : {}) });

/** The field of a form; it sets settings.captions. */
export function captionsField(_subject, settings, changed) {
  const kind = h("select", {}, KINDS.map((each) => h("option", { value: each }, t(`captions.${each}`))));
  kind.value = settings.captions;
  kind.addEventListener("change", () => {
    settings.captions = kind.value;
    changed();
  });
  return { element: field(t("captions"), kind), words: () => (settings.captions === "none" ? "" : t("captions")) };
}
