// Choosing what is said: a recording, a sound file, or nothing.

import { h } from "./dom.js";
import { dropZone, field, problemBox } from "./parts.js";
import { recorder } from "./recorder.js";
import { bytes } from "./strings.js";

const LONGEST_S = 60;

/** The chooser: an element with `file()`, `seconds()` of a video without speech, `missing()` and `reset()`. `changed()` hears of a choice. */
export function speech(changed) {
  const element = h("div", { class: "sound" });
  let audio = null;
  let length = null;
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
  const ask = () => {
    audio = length = null;
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
      h("div", {}, h("button", { class: "button small", type: "button", onclick: silence }, "Without speech")),
    );
  };
  ask();
  return {
    element,
    file: () => audio,
    seconds: () => length?.value,
    missing: () => {
      if (length) return length.validity.valid ? "" : `Choose a length of 1 to ${LONGEST_S} seconds.`;
      return audio ? "" : "Record or choose what is to be said first.";
    },
    reset: ask,
  };
}
