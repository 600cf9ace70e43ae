// The sample person and the sample speech, which the service makes at their first use.

import { read, request } from "./api.js";
import { t } from "./text.js";

const TYPES = { person: ["video/mp4", "mp4"], speech: ["audio/wav", "wav"] };
/** Seconds for drawing the person, on a machine that has more to do. */
const LIMIT_S = 300;

/** The sample called `name` (person, speech), as a file. */
export async function sample(name, signal) {
  const [type, ending] = TYPES[name];
  const response = await request(`/v1/samples/${name}`, { signal, limit_s: LIMIT_S });
  return new File([await response.blob()], `${t(`sample.${name}`)}.${ending}`, { type });
}

/** Whether this service can make samples. */
export const hasSamples = (signal) => read("/v1/samples", { signal }).then((found) => found.available, () => false);
