// The view: turned, nodding, tilted, zoomed. Directions are those of whoever looks at the picture.

import { h, icon } from "../dom.js";
import { percent } from "../format.js";
import { t } from "../text.js";
import { viewWords } from "../words.js";
import { slider } from "./slider.js";

const KINDS = [
  { name: "yaw_deg", usual: 0, step: 1 },
  { name: "pitch_deg", usual: 0, step: 1 },
  { name: "roll_deg", usual: 0, step: 1 },
  { name: "zoom", least: 0.5, most: 2, step: 0.05, usual: 1 },
];

/** The field of a form; it sets settings.view. */
export function viewField(subject, settings, changed) {
  const view = settings.view;
  const sliders = KINDS.map((kind) => {
    const [least, most] = subject.view_limits?.[kind.name]?.map((limit) => Math.trunc(limit)) ?? [kind.least ?? -30, kind.most ?? 30];
    const words = (value) => (kind.name === "zoom" ? percent(value + 1e-9) : viewWords({ [kind.name]: value }) || t("turn.centre"));
    const set = (value) => {
      view[kind.name] = value;
      changed();
    };
    const made = slider({ ...kind, label: t(`view.${kind.name}`), least, most, value: view[kind.name] ?? kind.usual, words, set });
    view[kind.name] = made.value();
    return made;
  });
  const reset = h("button", { class: "button small", type: "button", onclick: () => sliders.forEach((each) => each.reset()) }, icon("again"), t("view.reset"));
  return {
    element: h("fieldset", { class: "stack" }, h("legend", {}, t("facts.view")), sliders.map((each) => each.element), reset),
    words: () => viewWords(view),
    /** Turns to where the preview is dragged: shares of its width and height. */
    turn: (x, y) => {
      sliders[0].place(x);
      sliders[1].place(1 - y);
    },
  };
}
