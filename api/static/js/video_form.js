// The form for a new video: speech, view, background.

import { write } from "./api.js";
import { freshId, h, icon } from "./dom.js";
import { viewControl } from "./view_control.js";
import { attempt, choice, dropZone, field, problemBox } from "./parts.js";
import { recorder } from "./recorder.js";
import { send } from "./upload_progress.js";
import { bytes } from "./strings.js";

const BACKGROUNDS = [
  { id: "original", name: "As filmed" },
  { id: "color", name: "Colour" },
  { id: "image", name: "Picture" },
  { id: "transparent", name: "None", text: "WebM with transparency" },
];
const POSES = [
  { id: "track", name: "Lively", text: "moves as in the footage" },
  { id: "still", name: "Quiet", text: "sways and blinks a little" },
];

/** The form under a subject that is ready. `asked(video)` hears of a video that was begun. */
export function videoForm(subject, signal, asked) {
  const problem = h("div", {});
  const sending = h("div", {});
  const sound = h("div", { class: "sound" });
  const submit = h("button", { class: "button primary large", type: "submit" }, icon("film"), "Make the video");
  let audio = null;

  const take = (file) => {
    audio = file;
    problem.replaceChildren();
    const other = h("button", { class: "button small", type: "button", onclick: () => ask() }, "Choose another");
    sound.replaceChildren(
      h("audio", { src: URL.createObjectURL(file), controls: true, "aria-label": `What is said, ${file.name}` }),
      h("div", { class: "row between" }, h("span", {}, h("strong", {}, file.name), ` ${bytes(file.size)}`), other),
    );
    other.focus();
  };
  const ask = () => {
    audio = null;
    const heard = h("div", {}); // what the recorder says is beside its button: the form's end may be far below
    sound.replaceChildren(
      recorder(take, (error) => heard.replaceChildren(problemBox(error))),
      heard,
      dropZone({
        label: "or drop a sound file here",
        hint: "WAV, MP3, M4A, FLAC, OGG or WebM",
        accept: "audio/*,video/webm",
        sign: "mic",
        chosen: take,
      }),
    );
  };
  ask();

  const behind = background();
  const pad = viewControl(subject, signal);
  let pose = "track";
  const sizes = ["", 128, 256, 512, 1024].map((size) => h("option", { value: size }, size ? `${size} px` : "As learnt"));
  const size = h("select", {}, sizes);
  const label = h("input", { type: "checkbox" });
  const format = h("select", {}, h("option", { value: "mp4" }, "MP4 (plays everywhere)"), h("option", { value: "webm" }, "WebM"));

  const make = async (uploaded) => {
    const { kind, color, file } = behind.value();
    const options = {
      pose,
      view: pad.value(),
      background: { kind, ...(kind === "color" ? { color } : {}) },
      format: kind === "transparent" ? "webm" : format.value,
      ...(size.value ? { size: Number(size.value) } : {}),
      label: label.checked,
    };
    const form = new FormData();
    form.set("upload_id", uploaded);
    form.set("subject_id", subject.id);
    form.set("options", JSON.stringify(options));
    if (kind === "image") form.set("background", file);
    return write("POST", "/v1/videos", form, { "Idempotency-Key": uploaded });
  };
  const start = async () => {
    const video = await send(audio, sending, signal, make);
    ask();
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
        const missing = !audio ? "Record or choose what is to be said first." : behind.missing();
        if (missing) problem.replaceChildren(problemBox(new Error(missing)));
        else attempt(submit, problem, start);
      },
    },
    h("h2", { id: "speak-title" }, "Let ", subject.name, " speak"),
    sound,
    h("h3", {}, "View"),
    pad,
    behind.element,
    h(
      "details",
      {},
      h("summary", {}, "Motion, size, format, label"),
      choice("Motion", "pose", POSES, pose, (id) => (pose = id)),
      h("div", { class: "pair" }, field("Size", size), field("Format", format, "Without a background it is always WebM.")),
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
