// The trash: people and videos that were deleted a short time ago.

import { list, write } from "../api.js";
import { confirm, fill, h, icon } from "../dom.js";
import { when } from "../format.js";
import { follow } from "../jobs.js";
import { act } from "../parts.js";
import { t } from "../text.js";
import { restore } from "../trash.js";
import { videoTitle } from "../words.js";
import { showPoster } from "./videos.js";

export async function trashView(main, _args, signal) {
  const problem = h("div", {});
  const place = h("div", {});
  const everything = act(t("trash.empty"), "bin", async () => {
    const sure = await confirm({ title: t("trash.empty"), text: t("trash.now.text"), action: t("delete.now") });
    if (!sure) return;
    for (const each of shown) await write("DELETE", each.links.self);
    await look();
  }, problem, "danger");
  let shown = [];
  const look = async () => {
    const [gone, videos, people] = await Promise.all(["/v1/subjects?trash=true", "/v1/videos?trash=true", "/v1/subjects"].map((path) => list(path, { signal })));
    const names = new Map([...people, ...gone].map((each) => [each.id, each.name]));
    const ids = new Set(gone.map(({ id }) => id));
    shown = [...gone, ...videos.filter((each) => !ids.has(each.subject_id))]; // those of a person come back with it
    const count = (person) => videos.filter((each) => each.subject_id === person.id).length;
    everything.hidden = !shown.length;
    fill(place, shown.map(({ id }) => id), () => {
      if (!shown.length) return h("p", { class: "lead" }, t("trash.none"));
      return h("ul", { class: "list" }, shown.map((each) => (ids.has(each.id) ? line(each, each.name, t("trash.videos", { count: count(each) })) : line(each, `${names.get(each.subject_id) ?? ""}: ${videoTitle(each)}`))));
    });
  };
  const line = (thing, name, more = "") => {
    const image = h("img", { alt: "", width: 96, height: 64, loading: "lazy" });
    showPoster(image, thing.links.thumbnail, signal);
    const back = act(t("restore"), "again", async () => (await restore(thing), await look()), problem, "small");
    const now = act(t("delete.now"), "bin", async () => {
      const sure = await confirm({ title: t("delete.title", { name }), text: t("trash.now.text"), action: t("delete.now") });
      if (!sure) return;
      await write("DELETE", thing.links.self);
      await look();
    }, problem, "small danger");
    for (const [button, says] of [[back, "restore"], [now, "delete.now"]]) button.setAttribute("aria-label", `${t(says)}: ${name}`);
    const words = [more, t("trash.end", { when: when(thing.trashed_until) })].filter(Boolean).join(" · ");
    return h("li", { class: "line" }, image, h("div", { class: "line-words" }, h("span", { class: "strong" }, name), h("span", { class: "faint small" }, words), h("span", { class: "row line-acts" }, back, now)));
  };
  await look();
  main.append(h("div", { class: "head" }, h("h1", {}, t("trash")), everything), h("p", { class: "lead" }, t("trash.text")), problem, place);
  follow(() => false, look, signal);
  return t("trash");
}
