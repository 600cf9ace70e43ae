// Links by which everybody can watch a video: made, copied, embedded and closed in a dialog.

import { list, write } from "./api.js";
import { announce, h, icon } from "./dom.js";
import { when } from "./format.js";
import { act, field, noteBox } from "./parts.js";
import { t } from "./text.js";

const DAY_S = 86_400;
/** Height of the title and the label below the player, px. */
const WORDS_PX = 104;
/** How long a link may be valid, days. */
const DAYS = [1, 7, 30, 365];

/** Opens the dialog of the links to a video. */
export async function shareDialog(video, signal) {
  const path = `${video.links.self}/shares`;
  const problem = h("div", {});
  const links = h("ul", { class: "list links" });
  const note = h("div", {});
  const days = h("select", {}, DAYS.map((count) => h("option", { value: count }, t("share.days", { count }))));
  days.value = 7;
  const show = (shares) => {
    links.replaceChildren(...shares.map(line));
    note.replaceChildren(...(shares.some((each) => each.only_here) ? [noteBox(t("share.here"))] : []));
  };
  const look = async () => show(await list(path, { signal }));
  const make = act(t("share.make"), "plus", async () => {
    await write("POST", path, { expires_in_s: Number(days.value) * DAY_S });
    await look();
    links.querySelector("button")?.focus();
  }, problem, "primary");
  const copy = (text, label, sign) =>
    act(label, sign, async () => {
      await navigator.clipboard.writeText(text);
      announce(t("share.copied"));
      said.textContent = t("share.copied");
    }, problem, "small");
  const line = (share) => {
    const url = new URL(share.url, location.href).href;
    const [width, height] = [video.width, video.height + WORDS_PX];
    const code = `<iframe src="${url}" style="border:0;width:100%;max-width:${width}px;aspect-ratio:${width}/${height}" allowfullscreen></iframe>`;
    const shut = act(t("share.revoke"), "bin", async () => {
      await write("DELETE", `${path}/${share.id}`);
      await look();
    }, problem, "small danger");
    return h(
      "li",
      { class: "stack" },
      h("input", { type: "text", readonly: true, value: url, "aria-label": t("share.link"), onfocus: (event) => event.target.select() }),
      h("div", { class: "row" }, copy(url, t("share.copy"), "copy"), copy(code, t("share.embed"), "film"), shut, h("a", { class: "button quiet small", href: url, target: "_blank", rel: "noopener" }, icon("open"), t("verify.open"))),
      h("p", { class: "faint small" }, t("share.until", { when: when(share.expires_at) })),
    );
  };
  const said = h("p", { class: "faint small", role: "status" });
  const dialog = h(
    "dialog",
    { class: "dialog wide", "aria-labelledby": "share-title" },
    h(
      "div",
      { class: "stack" },
      h("h2", { id: "share-title" }, t("share.title")),
      h("p", {}, t("share.text")),
      h("div", { class: "row end-line" }, field(t("share.valid"), days), make),
      problem,
      note,
      links,
      said,
      h("div", { class: "row end" }, h("button", { class: "button", type: "button", onclick: () => dialog.close() }, t("close"))),
    ),
  );
  await look();
  document.body.append(dialog);
  dialog.showModal();
  const end = () => dialog.close();
  signal.addEventListener("abort", end);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      signal.removeEventListener("abort", end);
      dialog.remove();
      resolve();
    });
  });
}
