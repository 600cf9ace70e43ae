// The main job, and the first thing that is seen: a person, speech, a video.

import { list } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { videoForm } from "../form/form.js";
import { active, follow } from "../jobs.js";
import { field } from "../parts.js";
import { t } from "../text.js";
import { sampleButton } from "../samples.js";
import { personCard } from "./people.js";

const CHOSEN = "adnerf-person";
const STEPS = ["film", "good", "mic"];

export async function makeView(main, _args, signal) {
  const place = h("div", {});
  let people = [];
  let form = null;
  let chosen = null;
  const begin = (subject) => {
    form?.abort();
    form = new AbortController();
    chosen = subject;
    sessionStorage.setItem(CHOSEN, subject.id);
    const ready = people.filter(isReady);
    const person = h("select", { onchange: () => begin(ready.find((each) => each.id === person.value)) }, ready.map((each) => h("option", { value: each.id }, each.name)));
    person.value = subject.id;
    const add = h("a", { class: "button small", href: "#/new" }, icon("plus"), t("people.add"));
    const asked = (video) => (location.hash = `#/videos/${video.id}`);
    const picked = document.activeElement?.closest?.(".person-field");
    place.replaceChildren(
      h("h1", { class: "unseen" }, t("nav.make")),
      videoForm(subject, AbortSignal.any([signal, form.signal]), asked, h("div", { class: "row person-field" }, field(t("person"), person), add)),
    );
    if (picked) person.focus();
  };
  const look = async () => {
    people = await list("/v1/subjects", { signal });
    const ready = people.filter(isReady);
    const names = ready.map((each) => [each.id, each.name]);
    if (ready.length) {
      if (chosen && JSON.stringify(names) === place.dataset.shows) return;
      place.dataset.shows = JSON.stringify(names);
      begin(ready.find((each) => each.id === (chosen?.id ?? sessionStorage.getItem(CHOSEN))) ?? ready[0]);
    } else if (people.length) {
      fill(place, "coming", () => [h("h1", {}, t("make.coming")), h("div", { class: "row between" }, h("p", { class: "lead" }, t("make.coming.text")), h("a", { class: "button", href: "#/new" }, icon("plus"), t("people.add"))), coming]);
      coming.show(people, signal);
    } else fill(place, "empty", () => hero(signal));
  };
  const coming = comingList();
  await look();
  main.append(place);
  follow(() => people.some((each) => each.jobs.some(active)), look, signal);
  return t("nav.make");
}

const isReady = (subject) => subject.state === "ready" && !subject.consent.withdrawn_at;

function comingList() {
  const cards = new Map();
  const grid = h("ul", { class: "grid" });
  grid.show = (people, signal) => {
    for (const each of people) {
      if (!cards.has(each.id)) grid.append(cards.set(each.id, personCard()).get(each.id));
      cards.get(each.id).show(each, signal);
    }
  };
  return grid;
}

function hero(signal) {
  const problem = h("div", {});
  const trial = sampleButton(t("sample.try"), problem, signal, "large");
  return h(
    "section",
    { class: "hero" },
    h("h1", {}, t("hero.title")),
    h("p", { class: "lead" }, t("hero.text")),
    h("div", { class: "row" }, h("a", { class: "button primary large", href: "#/new" }, icon("plus"), t("people.first")), trial),
    problem,
    h("ol", { class: "steps" }, STEPS.map((sign) => h("li", {}, icon(sign), h("h2", {}, t(`hero.${sign}`)), h("p", {}, t(`hero.${sign}.text`))))),
  );
}
