// The frame: the whole one that was filmed, or a square portrait.

import { h } from "../dom.js";
import { pixels } from "../format.js";
import { choice } from "../parts.js";
import { t } from "../text.js";

/** Whether view, background or motion need a portrait. */
export const needsPortrait = ({ view, background, motion }) =>
  Object.entries(view).some(([name, value]) => value !== (name === "zoom" ? 1 : 0)) || background.kind !== "original" || motion !== 1;

/** What will be rendered: "full" or "portrait". */
export const frameOf = (settings, subject) => settings.frame || (subject.full_frame && !needsPortrait(settings) ? "full" : "portrait");

/** The field of a form; it sets settings.frame. */
export function frameField(subject, settings, changed) {
  const whole = subject.full_frame;
  if (!whole) return { element: h("p", { class: "faint small" }, t("frame.old")), words: () => t("frame.portrait") };
  const options = [
    { id: "", name: t("frame.auto"), text: t("frame.auto.text") },
    { id: "full", name: t("frame.full"), text: pixels(whole.width, whole.height) },
    { id: "portrait", name: t("frame.portrait"), text: t("frame.portrait.text") },
  ];
  const set = (id) => {
    settings.frame = id;
    changed();
  };
  const missing = () => (settings.frame === "full" && needsPortrait(settings) ? t("frame.conflict") : "");
  return { element: choice(t("facts.frame"), "frame", options, settings.frame, set), words: () => t(`frame.${frameOf(settings, subject)}`), missing };
}
