// All people.

import { key, list, picture } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { active, follow } from "../jobs.js";
import { bar, chip } from "../parts.js";
import { t } from "../text.js";
import { trashLink } from "../trash.js";
import { showJob } from "../waiting.js";
import { quality, subjectState } from "../words.js";

/** Failures of so many hours ago stand behind all others: nobody comes for them. */
const OLD_H = 24;

export async function peopleView(main, _args, signal) {
  const cards = new Map();
  const grid = h("ul", { class: "grid" });
  const none = h("p", { class: "lead" }, t("people.none"));
  let subjects = [];
  const look = async () => {
    subjects = (await list("/v1/subjects", { signal })).sort((a, b) => isOver(a) - isOver(b));
    none.hidden = subjects.length > 0;
    for (const subject of subjects) {
      if (!cards.has(subject.id)) cards.set(subject.id, personCard());
      cards.get(subject.id).show(subject, signal);
    }
    const shown = subjects.map(({ id }) => cards.get(id));
    if (shown.some((each, k) => grid.children[k] !== each) || grid.children.length !== shown.length) grid.replaceChildren(...shown);
  };
  await look();
  main.append(h("div", { class: "head" }, h("h1", {}, t("nav.people")), trashLink(), h("a", { class: "button primary", href: "#/new" }, icon("plus"), t("people.add"))), none, grid);
  follow(() => subjects.some((each) => each.jobs.some(active)), look, signal);
  return t("nav.people");
}

const isOver = ({ state, updated_at: at }) => Number(["failed", "cancelled"].includes(state) && Date.now() - new Date(at) > OLD_H * 3_600_000);

/** A person in a list: an element with `show(subject, signal)`. */
export function personCard() {
  const image = h("img", { alt: "", width: 320, height: 320, loading: "lazy" });
  const name = h("span", { class: "card-name" });
  const state = h("span", {});
  const below = h("div", { class: "card-below" });
  const progress = bar("");
  const link = h("a", { class: "card" }, h("span", { class: "portrait" }, icon("person"), image), h("span", { class: "card-head" }, name, state), below);
  const item = h("li", {}, link);
  item.show = (subject, signal) => {
    link.href = `#/subjects/${subject.id}`;
    name.textContent = subject.name;
    const shown = subjectState(subject);
    fill(state, shown, () => chip(shown));
    const job = subject.jobs.find(active);
    const failed = subject.state === "failed" && subject.jobs.findLast((each) => each.error);
    const judged = subject.state === "ready" && quality(subject.quality);
    if (job) {
      fill(below, "job", () => progress);
      showJob(progress, { ...job, eta_s: subject.eta_s ?? job.eta_s });
    } else if (failed) fill(below, failed.error, () => h("p", { class: "small bad" }, failed.error.message));
    else if (judged) fill(below, judged.verdict, () => h("p", { class: `small ${judged.verdict}` }, t(`quality.${judged.verdict}`)));
    else fill(below, "", () => []);
    if (shown === "withdrawn") image.removeAttribute("src");
    else showPortrait(image, subject, item.state, signal);
    item.state = subject.state;
  };
  return item;
}

/** The portrait of a person: the newest picture of training, fetched anew while that goes on. */
function showPortrait(image, subject, before, signal) {
  const preview = subject.state === "ready" ? (subject.links.thumbnail ?? subject.links.preview) : subject.links.preview;
  if (!preview || (image.src && subject.state !== "training" && before === subject.state)) return;
  image.classList.toggle("strip", subject.state !== "ready");
  if (key() || subject.state === "training") picture(image, preview, signal).catch(() => {});
  else image.src = preview;
}
