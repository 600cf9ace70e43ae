// A script that a voice reads.

import { mediaUrl, read } from "../api.js";
import { h } from "../dom.js";
import { percent } from "../format.js";
import { field, problemBox } from "../parts.js";
import { t } from "../text.js";
import { slider } from "./slider.js";

/** The longest script that the service takes (adnerf_core/speech/script.py), characters. */
const LONGEST = 10_000;

/** What a new script is. */
export const BLANK = { text: "", voice: "", speed: 1 };

/** Whether a script says anything. */
export const says = ({ text }) => /[\p{L}\p{N}]/u.test(text);

/** The fields of the request for a script. */
export const scriptRequest = ({ text, voice, speed }) => ({ script: text, ...(voice ? { voice } : {}), ...(speed === 1 ? {} : { speed }) });

/** The elements to write `script` with: {text, voice, speed}. `changed()` hears of every change. */
export function scriptFields(script, signal, changed) {
  const text = h("textarea", { rows: 5, class: "first", maxlength: LONGEST, required: true, value: script.text });
  const voice = h("select", {});
  const hint = h("div", {});
  const sample = h("audio", { controls: true, preload: "none", hidden: true, "aria-label": t("script.sample") });
  let voices = [];
  const set = (values) => {
    Object.assign(script, values);
    changed();
  };
  const hear = async () => {
    const link = voices.find((each) => each.id === voice.value)?.links.sample;
    sample.hidden = !link;
    if (link) sample.src = await mediaUrl(link, signal);
  };
  const offer = async () => {
    ({ items: voices } = await read("/v1/voices", { signal }));
    voice.append(...voices.map((each) => h("option", { value: each.id }, `${each.name} (${each.language}, ${each.licence})`)));
    if (voices.some((each) => each.id === script.voice)) voice.value = script.voice;
    script.voice = voice.value;
    if (!voices.length) hint.replaceChildren(h("p", { class: "faint small", role: "status" }, t("script.novoice")));
    await hear();
  };
  const fail = (error) => error.name !== "AbortError" && hint.replaceChildren(problemBox(error));
  text.addEventListener("input", () => set({ text: text.value }));
  voice.addEventListener("change", () => {
    set({ voice: voice.value });
    hear().catch(fail);
  });
  offer().catch(fail);
  const speed = slider({ label: t("script.speed"), least: 0.5, most: 2, step: 0.05, usual: 1, value: script.speed, words: percent, set: (value) => set({ speed: value }) });
  return [field(t("script"), text, t("script.hint")), field(t("script.voice"), voice), hint, sample, speed.element];
}
