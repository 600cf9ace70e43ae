// A new subject: footage, name, preset, consent.

import { write } from "../api.js";
import { h, icon } from "../dom.js";
import { attempt, choice, dropZone, field } from "../parts.js";
import { send } from "../upload_progress.js";
import { forgetUnfinished, unfinished } from "../tus.js";
import { bytes, PRESETS } from "../strings.js";

const DRAFT = "adnerf-new-subject";
const ADVICE = [
  "Head and shoulders, facing the camera; the face at least 250 pixels high.",
  "Camera on a stand, even light from the front.",
  "One to three minutes of lively speech. Turn and nod a little. Cuts are left out.",
  "A quiet room; nothing in front of mouth and chin, long hair behind the shoulders.",
];

export async function createView(main, _args, signal) {
  const typed = JSON.parse(sessionStorage.getItem(DRAFT) ?? "{}");
  const keep = (name) => (value) => sessionStorage.setItem(DRAFT, JSON.stringify(Object.assign(typed, { [name]: value })));
  let file = null;

  const name = h("input", { type: "text", maxlength: 200, value: typed.name ?? "", autocomplete: "off", oninput: () => keep("name")(name.value) });
  const consent = h("textarea", {
    rows: 3,
    maxlength: 10_000,
    required: true,
    value: typed.consent ?? "",
    oninput: () => keep("consent")(consent.value),
  });
  const footage = h("div", { class: "footage" });
  const problem = h("div", { "aria-live": "assertive" });
  const sending = h("div", {});
  const submit = h("button", { class: "button primary large", type: "submit" }, icon("up"), "Send and start");

  const choose = (chosen) => {
    file = chosen;
    problem.replaceChildren();
    if (!name.value || name.value === typed.filled) {
      name.value = chosen.name.replace(/\.[^.]+$/, "");
      keep("name")(name.value);
      keep("filled")(name.value); // what nobody typed gives way to the name of the next file
    }
    const other = () => {
      pick();
      problem.replaceChildren();
      footage.querySelector("input").focus();
    };
    const again = h("button", { class: "button small", type: "button", onclick: other }, "Choose another");
    footage.replaceChildren(
      h("video", { src: URL.createObjectURL(chosen), controls: true, muted: true, playsinline: true, "aria-label": `The footage, ${chosen.name}` }),
      h("div", { class: "row between" }, h("span", {}, h("strong", {}, chosen.name), ` ${bytes(chosen.size)}`), again),
    );
    again.focus();
  };
  const pick = () => {
    file = null;
    footage.replaceChildren(
      dropZone({
        label: "Drop a video here, or choose one",
        hint: "MP4, MOV, MKV, WebM, AVI, MTS or WMV; 8 seconds to 10 minutes",
        accept: "video/*,.mts,.m2ts",
        sign: "film",
        chosen: choose,
      }),
    );
  };
  pick();
  // A file that misses the place for it counts, too: the browser would leave the page for it.
  const drop = (event) => {
    if (event.defaultPrevented || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (event.type === "drop" && event.dataTransfer.files[0] && !submit.disabled) choose(event.dataTransfer.files[0]);
  };
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, drop, { signal });

  const left = unfinished();
  const resume = h("div", { class: "note" });
  if (left) {
    const forget = () => {
      forgetUnfinished();
      resume.remove();
    };
    resume.append(
      h("p", {}, "A part of ", h("strong", {}, left.name), " is there already. Choose the same file again, and it goes on where it was cut."),
      h("button", { class: "button small quiet", type: "button", onclick: forget }, "Forget it"),
    );
  }

  const create = async (uploaded) => {
    const form = new FormData();
    form.set("upload_id", uploaded);
    form.set("name", name.value.trim() || file.name);
    form.set("preset", typed.preset ?? "standard");
    form.set("consent", consent.value);
    return write("POST", "/v1/subjects", form, { "Idempotency-Key": uploaded });
  };
  const start = async () => {
    const subject = await send(file, sending, signal, create);
    sessionStorage.removeItem(DRAFT);
    location.hash = `#/subjects/${subject.id}`;
  };
  const form = h(
    "form",
    {
      class: "split",
      novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        const missing = file ? (consent.value.trim() ? "" : "Say who agreed to be shown, and to what.") : "Choose a video first.";
        if (missing) {
          problem.replaceChildren(h("p", { class: "problem", role: "alert" }, icon("warn"), missing));
          (file ? consent : footage.querySelector("input")).focus();
          return;
        }
        attempt(submit, problem, start);
      },
    },
    h("div", {}, footage, left && resume, h("details", { class: "advice", open: true }, h("summary", {}, "Footage that works"), h("ul", {}, ADVICE.map((line) => h("li", {}, line))))),
    h(
      "div",
      { class: "panel" },
      field("Name", name, "What to call the person here."),
      choice("Quality", "preset", PRESETS, typed.preset ?? "standard", keep("preset")),
      field("Consent", consent, "Who agreed to be shown, to what, and when; such as: “Ann Lee agreed on 2 May to be shown in our product films”. It is kept with the subject."),
      problem,
      sending,
      submit,
    ),
  );
  main.append(h("a", { class: "up", href: "#/" }, icon("back"), "Subjects"), h("h1", {}, "New subject"), form);
  return "New subject";
}
