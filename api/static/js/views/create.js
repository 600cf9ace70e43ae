// A new person: footage, name, consent, quality.

import { read, write } from "../api.js";
import { importBundle, isBundle } from "../bundle.js";
import { draft, setDraft } from "../draft.js";
import { h, icon } from "../dom.js";
import { bytes, duration, pixels } from "../format.js";
import { cameraRecorder } from "../form/camera.js";
import { consentClip, DRAFT as CLIP } from "../form/consent_clip.js";
import { judgeFootage } from "../judge.js";
import { attempt, choice, dropWords, dropZone, field, noteBox, problemBox, takeDrops } from "../parts.js";
import { sampleButton } from "../samples.js";
import { t } from "../text.js";
import { forgetUnfinished, unfinished } from "../tus.js";
import { send } from "../upload_progress.js";

const DRAFT = "adnerf-new-subject";
const ADVICE = [1, 2, 3, 4];
/** A consent has to say who agreed and to what: no two words do. */
const SHORTEST_CONSENT = 10;
/** What phones and cameras call their files. */
const DEVICES = /^((img|vid|mvi|mov|dsc[nf]?|gopr|pxl|image|video|movie|clip|trim)((?=.*\d)\P{L}.*)?|\P{L}*)$/iu;

export async function createView(main, _args, signal) {
  const typed = JSON.parse(sessionStorage.getItem(DRAFT) ?? "{}");
  const keep = (name, value) => sessionStorage.setItem(DRAFT, JSON.stringify(Object.assign(typed, { [name]: value })));
  const kept = draft("footage", () => ({ file: null, about: null }));
  const { presets } = await read("/v1/me", { signal });
  if (!presets.some((each) => each.name === typed.preset)) typed.preset = "standard";

  const name = h("input", { type: "text", maxlength: 200, value: typed.name ?? "", autocomplete: "off", oninput: () => keep("name", name.value) });
  const consent = h("textarea", { rows: 3, maxlength: 10_000, required: true, value: typed.consent ?? "", oninput: () => keep("consent", consent.value) });
  const clip = consentClip(name, signal, () => problem.replaceChildren());
  const improve = h("input", { type: "checkbox", checked: typed.improve ?? false, onchange: () => keep("improve", improve.checked) });
  const footage = h("div", { class: "footage" });
  const refused = h("div", {});
  const problem = h("div", { "aria-live": "assertive" });
  const sending = h("div", {});
  const submit = h("button", { class: "button primary large", type: "submit" }, icon("up"), t("create.send"));

  let judging = null;
  const choose = (file) => {
    if (submit.disabled) return;
    if (isBundle(file)) attempt(submit, refused, () => take(file));
    else judging = judge(file);
  };
  const take = async (file) => (location.hash = `#/subjects/${(await importBundle(file, sending, signal)).id}`);
  const judge = async (file) => {
    problem.replaceChildren();
    const judged = await judgeFootage(file).catch((error) => ({ problem: error.code ? error.message : t("judge.unreadable") }));
    if (signal.aborted) return;
    if (judged.problem) {
      refused.replaceChildren(problemBox(new Error(judged.problem))); // the footage that was chosen before stays
      return;
    }
    refused.replaceChildren(...(judged.hint ? [noteBox(judged.hint)] : []));
    Object.assign(kept, { file, about: judged });
    if (!name.value || name.value === typed.filled) {
      name.value = proposed(file);
      name.dispatchEvent(new Event("input"));
      keep("filled", name.value); // what nobody typed gives way to the name of the next file
    }
    show();
  };
  const advice = h("details", { class: "advice" }, h("summary", {}, t("create.advice")), h("ul", {}, ADVICE.map((line) => h("li", {}, t(`create.advice.${line}`)))));
  const show = () => {
    ways.hidden = advice.hidden = Boolean(kept.file); // what is to be filled in comes next
    advice.open = matchMedia("(min-width: 56rem)").matches; // where it is beside the form, not above
    return kept.file ? showFootage() : pick();
  };
  const other = () => {
    Object.assign(kept, { file: null, about: null });
    for (const each of [problem, refused]) each.replaceChildren();
    pick();
    footage.querySelector("input").focus();
  };
  const showFootage = () => {
    const { file, about } = kept;
    const url = URL.createObjectURL(file);
    signal.addEventListener("abort", () => URL.revokeObjectURL(url));
    const again = h("button", { class: "button small", type: "button", onclick: other }, t("speech.other"));
    const size = [about.seconds && duration(about.seconds), about.width && pixels(about.width, about.height), bytes(file.size)].filter(Boolean).join(" · ");
    const player = h("video", { src: url, controls: true, muted: true, playsinline: true, "aria-label": t("create.player", { name: file.name }) });
    if (about.width) player.style.setProperty("--shape", about.width / about.height);
    footage.replaceChildren(
      player,
      h("div", { class: "row between" }, h("span", {}, h("strong", {}, file.name), " ", h("span", { class: "faint small" }, size)), again),
    );
    again.focus({ preventScroll: true });
  };
  const pick = () => {
    ways.hidden = advice.hidden = false;
    const camera = h("button", { class: "button", type: "button", onclick: film }, icon("camera"), t("camera.open"));
    footage.replaceChildren(
      dropZone({ label: dropWords("create"), hint: t("create.kinds"), accept: "video/*,.mkv,.mts,.m2ts", sign: "film", chosen: choose }),
      h("div", { class: "row" }, navigator.mediaDevices && camera),
    );
  };
  const film = () => {
    ways.hidden = true;
    for (const each of [problem, refused]) each.replaceChildren();
    footage.replaceChildren(cameraRecorder(signal, (file) => (show(), choose(file)), () => (pick(), footage.querySelector("button")?.focus())));
  };
  takeDrops(choose, signal);

  const bundle = h("input", { type: "file", accept: ".zip,application/zip", hidden: true, onchange: () => (choose(bundle.files[0]), (bundle.value = "")) });
  const carried = h("button", { class: "button small", type: "button", onclick: () => bundle.click() }, icon("open"), t("bundle.import"));

  const trial = sampleButton(t("sample.try"), refused, signal, "small");
  const ways = h("div", { class: "row" }, trial, bundle, carried);

  const create = async (uploaded, spoken) => {
    const form = new FormData();
    form.set("upload_id", uploaded);
    if (spoken) form.set("consent_upload_id", spoken);
    form.set("name", name.value.trim() || t("person"));
    form.set("preset", typed.preset);
    form.set("consent", consent.value);
    form.set("may_improve_others", improve.checked);
    return write("POST", "/v1/subjects", form, { "Idempotency-Key": uploaded });
  };
  const start = async () => {
    await judging; // the file was perhaps chosen a moment ago
    const lacks = missing() ?? ((await clip.lacks()) ? ["clip.missing", problem, clip.element.querySelector("button, input")] : null);
    if (lacks) {
      const [text, place, input] = lacks;
      if (!place.querySelector(".problem")) place.replaceChildren(problemBox(new Error(t(text)))); // else it says why the file was refused
      input.focus();
      return;
    }
    const { file } = kept;
    const spoken = clip.file();
    const upload = (id = null) => send(file, sending, signal, (uploaded) => create(uploaded, id));
    const subject = await (spoken ? send(spoken, sending, signal, upload) : upload());
    setDraft("footage");
    setDraft(CLIP);
    setDraft(`footage of ${subject.id}`, { file }); // to be shown while it is worked on
    sessionStorage.removeItem(DRAFT);
    location.hash = `#/subjects/${subject.id}`;
  };
  const missing = () => {
    if (!kept.file) return ["create.missing", refused, footage.querySelector("input")];
    return consent.value.trim().length < SHORTEST_CONSENT ? ["consent.missing", problem, consent] : null;
  };
  const form = h(
    "form",
    {
      class: "split",
      novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        attempt(submit, problem, start);
      },
    },
    h("div", {}, footage, refused, ways, resumeNote(), advice),
    h(
      "div",
      { class: "panel" },
      field(t("name"), name, t("name.hint")),
      field(t("consent"), consent, t("consent.hint")),
      clip.element,
      h("div", { class: "stack" }, h("label", { class: "check" }, improve, t("improve")), h("p", { class: "faint small" }, t("improve.hint"))),
      choice(t("preset"), "preset", presets.map(presetOption), typed.preset, (id) => keep("preset", id)),
      problem,
      h("div", { class: "make-bar" }, sending, submit),
    ),
  );
  show();
  main.append(h("a", { class: "up", href: "#/people" }, icon("back"), t("nav.people")), h("h1", {}, t("people.add")), form);
  return t("people.add");
}

/** The name that a file proposes for its person: none where a device has named it ("IMG_0042", "20260502_101010"). */
const proposed = ({ name }) => {
  const [said] = name.split(/\.[^.]*$/);
  return said === t("camera.file") || DEVICES.test(said) ? "" : said;
};

const presetOption = ({ name: id, ready_s: ready }) => ({
  id,
  name: t(`preset.${id}`),
  text: [t(`preset.${id}.text`), ready && t("preset.here", { time: duration(ready) })].filter(Boolean).join(" "),
});

/** Says that an upload of before can go on, if one can. */
function resumeNote() {
  const left = unfinished();
  if (!left) return null;
  const forget = () => {
    forgetUnfinished();
    note.remove();
  };
  const note = h("div", { class: "note" }, h("p", {}, t("upload.unfinished", { name: left.name })), h("button", { class: "button small quiet", type: "button", onclick: forget }, t("upload.forget")));
  return note;
}
