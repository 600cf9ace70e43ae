// How the head moves.

import { h } from "../dom.js";
import { percent } from "../format.js";
import { choice } from "../parts.js";
import { t } from "../text.js";
import { slider } from "./slider.js";

/** The field of a form; it sets settings.pose and settings.motion. */
export function motionField(_subject, settings, changed) {
  const poses = ["track", "still"].map((id) => ({ id, name: t(`pose.${id}`), text: t(`pose.${id}.text`) }));
  const pose = choice(t("facts.motion"), "pose", poses, settings.pose, (id) => {
    settings.pose = id;
    changed();
  });
  const amount = slider({
    label: t("motion"),
    least: 0,
    most: 1.5,
    step: 0.1,
    usual: 1,
    value: settings.motion,
    words: percent,
    set: (value) => {
      settings.motion = value;
      changed();
    },
  });
  return { element: h("div", { class: "stack" }, pose, amount.element), words: () => (settings.pose === "still" ? t("pose.still") : "") };
}
