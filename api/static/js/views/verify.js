// Verification: was a video made by this service?

import { read, write } from "../api.js";
import { announce, h, icon } from "../dom.js";
import { bar, dropZone, problemBox } from "../parts.js";
import { send } from "../upload_progress.js";
import { sleep } from "../job_events.js";
import { when } from "../strings.js";

export async function verifyView(main, _args, signal) {
  const answer = h("div", {});
  const sending = h("div", {});
  const look = async (file) => {
    answer.replaceChildren();
    try {
      const asked = await send(file, sending, signal, (uploaded) => {
        const form = new FormData();
        form.set("upload_id", uploaded);
        return write("POST", "/v1/verify", form, { "Idempotency-Key": uploaded });
      });
      const looking = bar("Looking for the signature and the mark");
      looking.update({ share: null });
      answer.replaceChildren(looking);
      const found = await answered(asked, signal);
      answer.replaceChildren(found.error ? problemBox(new Error(`${found.error.message} ${found.error.remedy}`)) : verdict(found, file));
      announce(answer.querySelector("h2")?.textContent ?? "");
    } catch (error) {
      if (error.name !== "AbortError") answer.replaceChildren(problemBox(error));
    }
  };
  main.append(
    h("h1", {}, "Was it made here?"),
    h(
      "div",
      { class: "narrow" },
      h("p", { class: "lead" }, "Every video that leaves this service is signed, and carries an invisible mark that stays when the video is copied, cut, scaled or coded anew."),
      dropZone({ label: "Drop a video here, or choose one", hint: "It is looked at and then removed", accept: "video/*", sign: "shield", chosen: look }),
      sending,
      answer,
    ),
  );
  return "Verify";
}

async function answered(verification, signal) {
  let now = verification;
  while (["queued", "running"].includes(now.state)) {
    await sleep(1.5, signal);
    now = await read(verification.links.self, { signal });
  }
  return now;
}

/** What the IPTC's terms for kinds of sources mean. */
const SOURCES = {
  trainedAlgorithmicMedia: "generated as a whole",
  compositeWithTrainedAlgorithmicMedia: "footage with a generated part",
};

function verdict(found, file) {
  const { credentials, mark, video } = found;
  const altered = credentials?.present && !credentials.valid;
  const title = found.made_here ? "Yes, it was made here" : "Nothing says that it was made here";
  return h(
    "section",
    { class: `panel verdict ${found.made_here ? "yes" : "no"}` },
    h("h2", {}, icon(found.made_here ? "shield" : "warn"), title),
    h("p", { class: "faint small" }, file.name),
    h(
      "dl",
      { class: "facts" },
      fact("Made", found.made_at && when(found.made_at)),
      fact("Signature", signature(credentials)),
      credentials?.present && fact("Signed by", credentials.issuer),
      credentials?.valid && fact("It says it is", SOURCES[credentials.source_type]),
      fact("Invisible mark", mark?.found ? "found in the pictures" : "not found"),
      video && h("div", {}, h("dt", {}, "Video"), h("dd", {}, h("a", { href: `#/videos/${video.id}` }, "it is among yours"))),
    ),
    altered && h("p", { class: "fair" }, "The file was changed after it was signed."),
    !found.made_here && h("p", { class: "faint small" }, "Signatures go when a file is converted; marks go when its pictures are badly damaged. So it may have been made here all the same."),
  );
}

function fact(name, value) {
  return value ? h("div", {}, h("dt", {}, name), h("dd", {}, value)) : null;
}

function signature(credentials) {
  if (!credentials?.present) return "none";
  if (!credentials.valid) return "does not hold";
  return credentials.ours ? "holds, and is ours" : "holds, but is somebody else's";
}
