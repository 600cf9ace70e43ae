// What is said: a recording, a sound file, the sample, a script, or nothing.

import { draft, setDraft } from "../draft.js";
import { h, icon } from "../dom.js";
import { bytes, duration } from "../format.js";
import { judgeSpeech } from "../judge.js";
import { act, dropWords, dropZone, field, problemBox } from "../parts.js";
import { sampleSpeech, showWhereSamplesAre } from "../samples.js";
import { t } from "../text.js";
import { recorder } from "./recorder.js";
import { BLANK, says, scriptFields, scriptRequest } from "./script.js";
import { cutOut, isCut, wave } from "./wave.js";

const LONGEST_S = 60;
const DRAFT = "speech";
/** Dispatches "arrived" when a recording is judged whose view was left meanwhile: the view that is open now shows it. */
const late = new EventTarget();

/** The chooser: {element, take(file), ready(), file(), value(), missing(), refuse(), reset()}. `changed()` hears of a choice. */
export function speech(signal, changed) {
  const element = h("div", { class: "sound" });
  const problem = h("div", {});
  const said = draft(DRAFT, () => ({ file: null, buffer: null, cut: { from: 0, to: null }, seconds: null, writing: false, script: { ...BLANK } }));
  let microphone = null;
  const refuse = (error) => problem.replaceChildren(problemBox(error));

  let judging = null;
  const take = (file) => (judging = judge(file));
  const judge = async (file) => {
    problem.replaceChildren();
    const judged = await judgeSpeech(file).catch((error) => ({ problem: error.code ? error.message : t("judge.unreadable") }));
    if (judged.problem) return refuse(new Error(judged.problem)); // what was there before stays
    Object.assign(said, { file, buffer: judged.buffer, cut: { from: 0, to: null }, seconds: null, writing: false });
    if (signal.aborted) return late.dispatchEvent(new Event("arrived"));
    show();
    return changed();
  };
  const show = () => {
    microphone = null;
    if (said.file) element.replaceChildren(...chosen(), problem);
    else if (said.writing) element.replaceChildren(...script(), problem);
    else if (said.seconds !== null) element.replaceChildren(...silence(), problem);
    else element.replaceChildren(...ways(), problem);
    element.querySelector(".first")?.focus({ preventScroll: true });
  };
  const again = () => {
    Object.assign(said, { file: null, buffer: null, seconds: null, writing: false }); // a script that was begun stays
    problem.replaceChildren();
    show();
    changed();
  };
  const other = (text) => h("button", { class: "button small first", type: "button", onclick: again }, icon("again"), text);

  const recorded = () => said.file.name.startsWith("recording.");
  const chosen = () => {
    const url = URL.createObjectURL(said.file);
    signal.addEventListener("abort", () => URL.revokeObjectURL(url));
    const player = h("audio", { src: url, controls: true, "aria-label": t("speech.player", { name: said.file.name }) });
    const about = [said.buffer && duration(said.buffer.duration), bytes(said.file.size)].filter(Boolean).join(" · ");
    return [
      h("div", { class: "row between" }, h("span", {}, h("strong", {}, recorded() ? t("speech.recording") : said.file.name), " ", h("span", { class: "faint small" }, about)), other(t(recorded() ? "speech.rerecord" : "speech.other"))),
      player,
      said.buffer && wave(said.buffer, said.cut, () => (player.currentTime = said.cut.from)),
    ].filter(Boolean);
  };
  const silence = () => {
    const input = h("input", { type: "number", class: "first", min: 1, max: LONGEST_S, step: "any", value: said.seconds, required: true });
    input.addEventListener("input", () => (said.seconds = input.value));
    return [field(t("speech.seconds"), input, t("speech.seconds.hint", { most: LONGEST_S })), h("div", {}, h("button", { class: "button small", type: "button", onclick: again }, t("speech.with")))];
  };
  const script = () => [...scriptFields(said.script, signal, changed), h("div", {}, h("button", { class: "button small", type: "button", onclick: again }, t("script.other")))];
  const ways = () => {
    microphone = recorder(signal, take, refuse);
    microphone.element.addEventListener("click", () => problem.replaceChildren()); // it said that there is no speech
    const file = dropZone({ label: dropWords("speech"), hint: t("speech.kinds"), accept: "audio/*,video/mp4,video/webm,.amr,.caf,.w64", sign: "mic", chosen: take });
    const write = h("button", { class: "button small", type: "button", onclick: () => ((said.writing = true), show(), changed()) }, icon("pen"), t("script.write"));
    const silent = h("button", { class: "link", type: "button", onclick: () => ((said.seconds = 10), (said.file = null), show(), changed()) }, t("speech.without"));
    const ready = showWhereSamplesAre(act(t("speech.sample"), null, async () => take(await sampleSpeech(signal)), problem), signal);
    ready.className = "link";
    return [h("div", { class: "ways" }, microphone.element, file), h("div", { class: "row" }, write, ready, silent)];
  };
  show();
  late.addEventListener("arrived", () => (show(), changed()), { signal });
  return {
    element,
    take,
    /** Ends a recording that still runs, and waits until what was chosen is judged. */
    ready: async () => {
      await microphone?.finish();
      await judging;
    },
    /** The sound file that was chosen; null where there is none, also for a recording, which has no name. */
    file: () => (said.file && !recorded() ? said.file : null),
    /** {file}, or the {fields} of a request without one. */
    value: async () => {
      if (said.file) return { file: isCut(said.buffer, said.cut) ? await cutOut(said.file, said.cut) : said.file };
      return { fields: said.writing ? scriptRequest(said.script) : { duration_s: said.seconds } };
    },
    missing: () => {
      if (said.file) return "";
      if (said.writing) return says(said.script) ? "" : t("script.missing");
      if (said.seconds === null) return t("speech.missing");
      return said.seconds >= 1 && said.seconds <= LONGEST_S ? "" : t("speech.seconds.wrong", { most: LONGEST_S });
    },
    /** Says what is missing where it belongs, and leads there. */
    refuse: (text) => {
      refuse(new Error(text));
      element.querySelector("textarea, input, button").focus();
      element.scrollIntoView({ block: "nearest" });
    },
    reset: () => setDraft(DRAFT),
  };
}
