// The clip in which a person speaks the consent, recorded or chosen, where the operator asks for it.

import { read } from "../api.js";
import { draft } from "../draft.js";
import { h, icon } from "../dom.js";
import { bytes, duration } from "../format.js";
import { judgeClip } from "../judge.js";
import { dropWords, dropZone, noteBox, problemBox } from "../parts.js";
import { t } from "../text.js";
import { cameraRecorder } from "./camera.js";

/** Lengths well within those that the service takes; a face and a voice are recognised at a third of what footage needs. */
const SPOKEN = { least_s: 3, best_s: 10, longest_s: 55, bits_per_s: 2_500_000, words: "clip" };
export const DRAFT = "consent clip";

/**
 * {element, file(), lacks()}: the element shows nothing where the service takes no clips. `lacks()` resolves to whether one is needed and missing.
 * The sentence to read names whoever `name`, an input, says; `chosen()` hears that there is a clip.
 */
export function consentClip(name, signal, chosen) {
  const kept = draft(DRAFT, () => ({ file: null, about: null }));
  const sentence = h("p", { class: "strong" });
  const place = h("div", { class: "spoken" });
  const said = h("div", { "aria-live": "assertive" });
  const legend = h("legend", {});
  const element = h("fieldset", { class: "stack", hidden: true }, legend, h("p", { class: "faint small" }, t("clip.hint")), sentence, place, said);

  const reading = () => t("clip.sentence", { name: name.value.trim() || "…" });
  const say = () => (sentence.textContent = reading());
  const choose = async (file) => {
    const judged = await judgeClip(file).catch((error) => ({ problem: error.code ? error.message : t("judge.unreadable") }));
    if (signal.aborted) return;
    said.replaceChildren(...(judged.problem ? [problemBox(new Error(judged.problem))] : judged.hint ? [noteBox(judged.hint)] : []));
    if (judged.problem) return;
    Object.assign(kept, { file, about: judged });
    chosen();
    show();
    place.querySelector("button").focus({ preventScroll: true });
  };
  const film = () => {
    said.replaceChildren();
    const taken = (file) => (pick(), choose(file));
    const left = () => (pick(), place.querySelector("button").focus());
    place.replaceChildren(cameraRecorder(signal, taken, left, { ...SPOKEN, reading: () => [reading()] }));
  };
  const pick = () => {
    const camera = h("button", { class: "button", type: "button", onclick: film }, icon("camera"), t("clip.open"));
    place.replaceChildren(
      h("div", { class: "row" }, navigator.mediaDevices && camera),
      dropZone({ label: dropWords("clip"), hint: t("clip.kinds"), accept: "video/*,.mkv", sign: "film", chosen: choose }),
    );
  };
  const other = () => {
    Object.assign(kept, { file: null, about: null });
    said.replaceChildren();
    pick();
    place.querySelector("button, input").focus();
  };
  const show = () => {
    if (!kept.file) {
      pick();
      return;
    }
    const url = URL.createObjectURL(kept.file);
    signal.addEventListener("abort", () => URL.revokeObjectURL(url));
    const size = [kept.about.seconds && duration(kept.about.seconds), bytes(kept.file.size)].filter(Boolean).join(" · ");
    const again = h("button", { class: "button small", type: "button", onclick: other }, t("clip.again"));
    place.replaceChildren(
      h("video", { src: url, controls: true, playsinline: true, "aria-label": t("clip") }),
      h("div", { class: "row between" }, h("span", { class: "faint small" }, size), again),
    );
  };

  const asked = read("/v1/me", { signal }).then(({ limits }) => limits.consent_clip, () => "off"); // what is needed, the service says as well
  asked.then((wanted) => {
    element.hidden = wanted === "off";
    if (element.hidden || signal.aborted) return;
    legend.textContent = t(wanted === "required" ? "clip" : "clip.optional");
    name.addEventListener("input", say);
    say();
    show();
  });
  const lacks = async () => (await asked) === "required" && !kept.file;
  return { element, file: () => (element.hidden ? null : kept.file), lacks };
}
