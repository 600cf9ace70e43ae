// The sample person and the sample speech, which the service makes at their first use.

import { read, request } from "./api.js";
import { t } from "./text.js";

const TRIAL = "adnerf-sample";
const TYPES = { person: ["video/mp4", "mp4"], speech: ["audio/wav", "wav"] };
/** Seconds for drawing the person, on a machine that has more to do. */
const LIMIT_S = 300;

/** The sample called `name` (person, speech), as a file. */
export async function sample(name, signal) {
  const [type, ending] = TYPES[name];
  const response = await request(`/v1/samples/${name}`, { signal, limit_s: LIMIT_S });
  return new File([await response.blob()], `${t(`sample.${name}`)}.${ending}`, { type });
}

/** Asks the view of a new person to add the sample person at once. */
export const beginTrial = () => sessionStorage.setItem(TRIAL, "yes");

/** Whether that was asked for; it is then no more. */
export function takeTrial() {
  const asked = sessionStorage.getItem(TRIAL);
  sessionStorage.removeItem(TRIAL);
  return Boolean(asked);
}

/** Whether this service can make samples. */
export const hasSamples = (signal) => read("/v1/samples", { signal }).then((found) => found.available, () => false);
