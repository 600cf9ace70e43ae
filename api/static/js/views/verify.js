// Verification: was a video made by this service?

import { read, write } from "../api.js";
import { announce, h, icon } from "../dom.js";
import { when } from "../format.js";
import { sleep } from "../jobs.js";
import { bar, dropWords, dropZone, factList, problemBox, takeDrops } from "../parts.js";
import { t } from "../text.js";
import { send } from "../upload_progress.js";

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
      const looking = bar(t("verify.looking"));
      looking.update({ share: null });
      answer.replaceChildren(looking);
      const found = await answered(asked, signal);
      answer.replaceChildren(found.error ? problemBox(new Error(`${found.error.message} ${found.error.remedy}`)) : verdict(found, file));
      announce(answer.querySelector("h2")?.textContent ?? "");
    } catch (error) {
      if (error.name !== "AbortError") answer.replaceChildren(problemBox(error));
    }
  };
  takeDrops(look, signal);
  main.append(
    h("h1", {}, t("verify.title")),
    h("div", { class: "narrow" }, h("p", { class: "lead" }, t("verify.text")), dropZone({ label: dropWords("create"), hint: t("verify.hint"), accept: "video/*", sign: "shield", chosen: look }), sending, answer),
  );
  return t("nav.verify");
}

async function answered(verification, signal) {
  let now = verification;
  while (["queued", "running"].includes(now.state)) {
    await sleep(1.5, signal);
    now = await read(verification.links.self, { signal });
  }
  return now;
}

/** The IPTC's terms for kinds of sources that have a text. */
const SOURCES = ["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"];

function verdict(found, file) {
  const { credentials, mark, video } = found;
  const altered = credentials?.present && !credentials.valid;
  const source = SOURCES.includes(credentials?.source_type) && t(`verify.source.${credentials.source_type}`);
  const rows = [
    ["made", found.made_at && when(found.made_at)],
    ["signature", t(`verify.signature.${signature(credentials)}`)],
    ["signer", credentials?.present && !credentials.ours && credentials.issuer], // "not trusted" beside a Yes says two things
    ["source", credentials?.valid && source],
    ["mark", t(mark?.found ? "verify.mark.found" : "verify.mark.none")],
    ["video", video && h("a", { href: `#/videos/${video.id}` }, t("verify.open"))],
  ];
  return h(
    "section",
    { class: `panel verdict ${found.made_here ? "yes" : "no"}` },
    h("h2", {}, icon(found.made_here ? "shield" : "warn"), t(found.made_here ? "verify.yes" : "verify.no")),
    h("p", { class: "faint small" }, file.name),
    factList(rows.filter(([, value]) => value).map(([name, value]) => [t(`verify.${name}`), value])),
    altered && h("p", { class: "fair" }, t("verify.altered")),
    !found.made_here && h("p", { class: "faint small" }, t("verify.doubt")),
  );
}

function signature(credentials) {
  if (!credentials?.present) return "none";
  if (!credentials.valid) return "invalid";
  return credentials.ours ? "ours" : "other";
}
