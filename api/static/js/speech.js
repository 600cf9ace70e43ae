// Choosing what is said: a recording, a sound file, a script, or nothing.

import { mediaUrl, read } from "./api.js";
import { h } from "./dom.js";
import { dropZone, field, problemBox } from "./parts.js";
import { recorder } from "./recorder.js";
import { bytes } from "./strings.js";

const LONGEST_S = 60;

/** The chooser: an element with `file()`, `fields()` of the request without a file, `missing()` and `reset()`. `changed()` hears of a choice. */
export function speech(changed) {
  const element = h("div", { class: "sound" });
  let audio = null;
  let length = null;
  let text = null;
  let voice = null;
  const other = (text) => h("button", { class: "button small", type: "button", onclick: () => ask() }, text);

  const take = (file) => {
    audio = file;
    changed();
    const again = other("Choose another");
    element.replaceChildren(
      h("audio", { src: URL.createObjectURL(file), controls: true, "aria-label": `What is said, ${file.name}` }),
      h("div", { class: "row between" }, h("span", {}, h("strong", {}, file.name), ` ${bytes(file.size)}`), again),
    );
    again.focus();
  };
  const silence = () => {
    length = h("input", { type: "number", min: 1, max: LONGEST_S, step: "any", value: 10, required: true });
    changed();
    element.replaceChildren(field("Length in seconds", length, `The person is silent, and the video loops. 1 to ${LONGEST_S}.`), h("div", {}, other("With speech")));
    length.focus();
  };
  const script = async () => {
    text = h("textarea", { rows: 5, maxlength: 10000, required: true });
    voice = h("select", {});
    const hint = h("p", { class: "faint small", role: "status" });
    const sample = h("audio", { controls: true, preload: "none", "aria-label": "The voice" });
    changed();
    element.replaceChildren(field("Script", text, "An empty line ends a paragraph; [pause 1.5s] is a pause."), field("Voice", voice), hint, sample, h("div", {}, other("Record or choose a sound")));
    text.focus();
    const hear = (voices) => {
      const link = voices.find((each) => each.id === voice.value)?.links.sample;
      sample.hidden = !link;
      if (link) mediaUrl(link).then((url) => (sample.src = url), () => (sample.hidden = true));
    };
    try {
      const { items } = await read("/v1/voices");
      voice.append(...items.map((each) => h("option", { value: each.id }, `${each.name} (${each.language}, ${each.licence})`)));
      voice.addEventListener("change", () => hear(items));
      hear(items);
      if (!items.length) hint.textContent = "No worker has a voice yet. The operator installs one on the workers: pip install hibari-tts.";
    } catch (error) {
      sample.hidden = true;
      hint.replaceChildren(problemBox(error));
    }
  };
  const ask = () => {
    audio = length = text = null;
    const heard = h("div", {}); // what the recorder says is beside its button: the form's end may be far below
    element.replaceChildren(
      recorder(take, (error) => heard.replaceChildren(problemBox(error))),
      heard,
      dropZone({
        label: "or drop a sound file here",
        hint: "WAV, MP3, M4A, FLAC, OGG, AIFF, AMR, WMA or WebM",
        accept: "audio/*,video/webm,.amr,.caf,.w64",
        sign: "mic",
        chosen: take,
      }),
      h(
        "div",
        { class: "row" },
        h("button", { class: "button small", type: "button", onclick: script }, "Write a script"),
        h("button", { class: "button small", type: "button", onclick: silence }, "Without speech"),
      ),
    );
  };
  ask();
  return {
    element,
    file: () => audio,
    fields: () => (text ? { script: text.value, ...(voice.value ? { voice: voice.value } : {}) } : { duration_s: length.value }),
    missing: () => {
      if (text) return text.value.trim() ? "" : "Write what is to be said first.";
      if (length) return length.validity.valid ? "" : `Choose a length of 1 to ${LONGEST_S} seconds.`;
      return audio ? "" : "Record or choose what is to be said first.";
    },
    reset: ask,
  };
}
