// The form for a new video: speech, view, background.

import { write } from "./api.js";
import { freshId, h, icon } from "./dom.js";
import { viewControl } from "./view_control.js";
import { attempt, choice, field, problemBox } from "./parts.js";
import { speech } from "./speech.js";
import { send } from "./upload_progress.js";

const BACKGROUNDS = [
  { id: "original", name: "As filmed" },
  { id: "color", name: "Colour" },
  { id: "image", name: "Picture" },
  { id: "transparent", name: "None", text: "WebM with transparency" },
];
const SIZES = [128, 256, 512, 1024, 1280, 1920];
const LARGEST_PORTRAIT = 1024;
const FRAMES = ({ width, height }) => [
  { id: "", name: "Automatic", text: "whole, or a portrait if view or background is changed" },
  { id: "full", name: "Whole frame", text: `${width} × ${height}, as filmed` },
  { id: "portrait", name: "Portrait", text: "a square, all of it rendered" },
];
const CAPTIONS = [
  ["", "None"],
  ["file", "In the player"],
  ["burn", "In the picture too"],
];
const ASPECTS = [
  ["", "As the frame"],
  ["16:9", "16:9"],
  ["9:16", "9:16, upright"],
  ["1:1", "1:1, square"],
  ["4:5", "4:5"],
];
const POSES = [
  { id: "track", name: "Lively", text: "moves as in the footage" },
  { id: "still", name: "Quiet", text: "sways and blinks a little" },
];

/** The form under a subject that is ready. `asked(video)` hears of a video that was begun. */
export function videoForm(subject, signal, asked) {
  const problem = h("div", {});
  const sending = h("div", {});
  const said = speech(() => problem.replaceChildren());
  const submit = h("button", { class: "button primary large", type: "submit" }, icon("film"), "Make the video");

  const behind = background();
  const pad = viewControl(subject, signal);
  let pose = "track";
  let frame = "";
  const whole = subject.full_frame;
  const longest = whole ? Math.max(whole.width, whole.height) : 0;
  const sizes = ["", ...SIZES.filter((size) => size <= Math.max(longest, LARGEST_PORTRAIT))].map((size) =>
    h("option", { value: size }, size ? `${size} px` : "Own size"),
  );
  const size = h("select", {}, sizes);
  const label = h("input", { type: "checkbox" });
  const captions = h("select", {}, CAPTIONS.map(([value, text]) => h("option", { value }, text)));
  const aspect = h("select", {}, ASPECTS.map(([value, text]) => h("option", { value }, text)));
  const format = h("select", {}, h("option", { value: "mp4" }, "MP4 (plays everywhere)"), h("option", { value: "webm" }, "WebM"));

  const make = async (uploaded) => {
    const { kind, color, file } = behind.value();
    const options = {
      ...(frame ? { frame } : {}),
      pose,
      view: pad.value(),
      background: { kind, ...(kind === "color" ? { color } : {}) },
      format: kind === "transparent" ? "webm" : format.value,
      ...(size.value ? { size: Number(size.value) } : {}),
      label: label.checked,
      ...(aspect.value ? { aspect: aspect.value } : {}),
      ...(captions.value ? { captions: { file: "vtt", ...(captions.value === "burn" ? { burn: {} } : {}) } } : {}),
    };
    const form = new FormData();
    if (uploaded) form.set("upload_id", uploaded);
    else Object.entries(said.fields()).forEach(([name, value]) => form.set(name, value));
    form.set("subject_id", subject.id);
    form.set("options", JSON.stringify(options));
    if (kind === "image") form.set("background", file);
    return write("POST", "/v1/videos", form, uploaded ? { "Idempotency-Key": uploaded } : {});
  };
  const start = async () => {
    const video = await (said.file() ? send(said.file(), sending, signal, make) : make(null));
    said.reset();
    asked(video);
  };
  return h(
    "form",
    {
      class: "panel speak",
      novalidate: true,
      "aria-labelledby": "speak-title",
      onsubmit: (event) => {
        event.preventDefault();
        const missing = said.missing() || behind.missing();
        if (missing) problem.replaceChildren(problemBox(new Error(missing)));
        else attempt(submit, problem, start);
      },
    },
    h("h2", { id: "speak-title" }, "Let ", subject.name, " speak"),
    said.element,
    h("h3", {}, "View"),
    pad,
    behind.element,
    h(
      "details",
      {},
      h("summary", {}, "Frame, motion, size, format, captions, label"),
      whole
        ? choice("Frame", "frame", FRAMES(whole), frame, (id) => (frame = id))
        : h("p", { class: "faint small" }, "This subject has portraits only: an earlier version made it. Create it again from its footage to show the whole frame."),
      choice("Motion", "pose", POSES, pose, (id) => (pose = id)),
      h("div", { class: "pair" }, field("Longest edge", size, longest > LARGEST_PORTRAIT ? `A portrait has at most ${LARGEST_PORTRAIT} px.` : null), field("Format", format, "Without a background it is always WebM.")),
      h("div", { class: "pair" }, field("Captions", captions), field("Shape", aspect, "Cut from the frame, with the face in view.")),
      h("label", { class: "check" }, label, "Say “AI-generated” in a corner of the picture"),
    ),
    problem,
    sending,
    submit,
  );
}

/** What stands behind: an element, `value()` = {kind, color, file}, and what is `missing()`. */
function background() {
  let kind = "original";
  const color = h("input", { type: "color", value: "#204060" });
  const file = h("input", { type: "file", accept: "image/png,image/jpeg,image/webp" });
  const more = { color: field("Colour", color), image: field("Picture", file, "PNG, JPEG or WebP") };
  const place = h("div", { id: freshId("behind") });
  const element = h(
    "div",
    {},
    choice("Background", "background", BACKGROUNDS, kind, (id) => {
      kind = id;
      place.replaceChildren(...(more[id] ? [more[id]] : []));
    }),
    place,
  );
  return {
    element,
    value: () => ({ kind, color: color.value, file: file.files[0] }),
    missing: () => (kind === "image" && !file.files[0] ? "Choose the picture that shall stand behind." : ""),
  };
}
