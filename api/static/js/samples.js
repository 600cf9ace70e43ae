// The sample person and the sample speech, which the service makes at their first use.

import { read, request, write } from "./api.js";
import { act, bar } from "./parts.js";
import { t } from "./text.js";

/** Seconds for drawing the person, on a machine that has more to do. */
const LIMIT_S = 300;

/** The sample speech, as a file. */
export async function sampleSpeech(signal) {
  const response = await request("/v1/samples/speech", { signal, limit_s: LIMIT_S });
  return new File([await response.blob()], `${t("sample.speech")}.wav`, { type: "audio/wav" });
}

/** A button that makes the sample person, hidden where this service has none. What happens is shown in `place`, and then the person's page. */
export function sampleButton(text, place, signal, kind) {
  const button = act(text, "spark", async () => {
    const waiting = bar(t("sample.drawing"));
    waiting.update({ share: null });
    place.replaceChildren(waiting);
    const form = new FormData();
    const fields = { sample: "person", name: t("sample.name"), consent: t("sample.consent"), preset: "draft" }; // who tries wants to see something soon
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    const subject = await write("POST", "/v1/subjects", form, {}, LIMIT_S).finally(() => waiting.remove());
    if (!signal.aborted) location.hash = `#/subjects/${subject.id}`;
  }, place, kind);
  return showWhereSamplesAre(button, signal);
}

/** Hides `element` where this service cannot make samples. */
export function showWhereSamplesAre(element, signal) {
  element.hidden = true;
  read("/v1/samples", { signal }).then(({ available }) => (element.hidden = !available), () => {});
  return element;
}
