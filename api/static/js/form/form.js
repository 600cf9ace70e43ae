// The form for a new video: speech first; everything else is folded behind a line that says what is set.

import { write } from "../api.js";
import { FRAME, draft, setDraft } from "../draft.js";
import { h, icon } from "../dom.js";
import { act, attempt, takeDrops } from "../parts.js";
import { t } from "../text.js";
import { send } from "../upload_progress.js";
import { backgroundField } from "./background.js";
import { captionsField, captionsOf } from "./captions.js";
import { frameField } from "./frame.js";
import { labelField } from "./label.js";
import { motionField } from "./motion.js";
import { outputField } from "./output.js";
import { preview } from "./preview.js";
import { shapeField } from "./shape.js";
import { speech } from "./speech.js";
import { titleField } from "./title.js";
import { viewField } from "./view.js";

/**
 * The fields behind the line. Each is a function (subject, settings, changed) that gives {element, words()} and perhaps missing(), turn()
 * and propose(); it writes what is chosen into `settings` and calls changed(). What a field adds to the request stands in `optionsOf`.
 */
const FIELDS = [frameField, shapeField, backgroundField, viewField, motionField, captionsField, labelField, outputField, titleField];
const SETTINGS = "settings";
const START = () => ({
  frame: "",
  aspect: "source",
  fit: "cover",
  pose: "track",
  motion: 1,
  view: { yaw_deg: 0, pitch_deg: 0, roll_deg: 0, zoom: 1 },
  background: { kind: "original", color: "#204060", file: null },
  size: "",
  format: "mp4",
  label: false,
  captions: "none",
  title: "",
});

/** The `options` of the request for these settings. */
function optionsOf({ frame, aspect, fit, pose, motion, view, background: { kind, color }, size, format, label, captions }) {
  return {
    ...(frame ? { frame } : {}),
    ...(aspect === "source" ? {} : { aspect, fit }),
    pose,
    ...(motion === 1 ? {} : { motion }),
    view,
    background: { kind, ...(kind === "color" ? { color } : {}) },
    format: kind === "transparent" ? "webm" : format,
    ...(size ? { size: Number(size) } : {}),
    label,
    ...(captions === "none" ? {} : { captions: captionsOf(captions) }),
  };
}

/** Takes over the settings of a video, for the next one. A picture behind it has to be chosen again: the service does not give it out. */
export function settingsLike({ options }) {
  const { frame, aspect, fit, pose, motion, view, background, size, format, label, captions } = options;
  const start = START();
  setDraft(SETTINGS, {
    ...start,
    ...{ frame: frame ?? "", aspect, fit, pose, motion: motion ?? 1, size: size ?? "", format, label: Boolean(label) },
    captions: captions.burn ? "burn" : captions.file ? "file" : "none",
    view: { ...start.view, ...view },
    background: { ...start.background, kind: background.kind, color: background.color ?? start.background.color },
  });
}

/** The form for `subject`. `asked(video)` hears of a video that was begun. `person`: a field to choose the person with. */
export function videoForm(subject, signal, asked, person = null) {
  const settings = draft(SETTINGS, START);
  const problem = h("div", {});
  const sending = h("div", {});
  const summary = h("span", { class: "set" });
  const submit = h("button", { class: "button primary large", type: "submit" }, icon("film"), t("make"));
  const said = speech(signal, () => (propose(), changed()));
  takeDrops(said.take, signal);

  const changed = () => {
    shown.update();
    problem.replaceChildren();
    summary.textContent = fields.map((each) => each.words()).filter(Boolean).join(" · ");
  };
  const shown = preview(subject, settings, signal, (x, y) => fields.find((each) => each.turn).turn(x, y), optionsOf);
  const fields = FIELDS.map((each) => each(subject, settings, changed));
  const propose = () => fields.find((each) => each.propose).propose(said.file());
  const reset = act(t("settings.reset"), "again", async () => {
    setDraft(SETTINGS);
    dispatchEvent(new Event("hashchange")); // the view is made anew
  }, problem);
  reset.classList.add("small");
  const folded = h("details", { class: "settings" }, h("summary", {}, h("span", {}, t("settings")), summary), fields.map((each) => each.element), h("div", {}, reset));

  const make = (fields) => async (uploaded) => {
    const form = new FormData();
    if (uploaded) form.set("upload_id", uploaded);
    else Object.entries(fields).forEach(([name, value]) => form.set(name, value));
    form.set("subject_id", subject.id);
    if (settings.title) form.set("title", settings.title);
    form.set("options", JSON.stringify(optionsOf(settings)));
    if (settings.background.kind === "image") form.set("background", settings.background.file);
    return write("POST", "/v1/videos", form, uploaded ? { "Idempotency-Key": uploaded } : {});
  };
  const start = async () => {
    await said.ready();
    const missing = fields.map((each) => each.missing?.()).find(Boolean);
    if (missing) {
      folded.open = true;
      throw new Error(missing);
    }
    if (said.missing()) return said.refuse(said.missing());
    const { file, fields: sent } = await said.value();
    const video = await (file ? send(file, sending, signal, make(sent)) : make(sent)(null));
    setDraft(FRAME, { video: video.id, picture: shown.picture() }); // seen until its stream is
    said.reset();
    settings.title = settings.proposed = ""; // of this video alone
    return asked(video);
  };
  const title = h("h2", { id: "make-title", class: person ? "unseen" : null }, t("make.with", { name: subject.name }));
  propose();
  changed();
  return h(
    "form",
    {
      class: "make",
      novalidate: true,
      "aria-labelledby": "make-title",
      onsubmit: (event) => {
        event.preventDefault();
        attempt(submit, problem, start);
      },
    },
    shown.element,
    h("div", { class: "panel make-side" }, title, person, said.element, folded, problem, h("div", { class: "make-bar" }, sending, submit)),
  );
}
