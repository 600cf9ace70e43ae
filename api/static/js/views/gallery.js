// All subjects.

import { list, picture } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { bar, chip, showJob } from "../parts.js";
import { active, every } from "../job_events.js";
import * as strings from "../strings.js";

const STEPS = [
  ["film", "Film", "One to three minutes of one person speaking to the camera."],
  ["good", "Learn", "The service checks the footage and learns the person from it."],
  ["mic", "Speak", "Record or drop any speech, and get a video of the person saying it."],
];

export async function galleryView(main, _args, signal) {
  const cards = new Map();
  const grid = h("ul", { class: "grid" });
  const place = h("div", {});
  const look = async () => {
    const subjects = await list("/v1/subjects", { signal });
    if (!subjects.length) {
      fill(place, "empty", empty);
      return subjects;
    }
    fill(place, "grid", () => [
      h(
        "div",
        { class: "head" },
        h("h1", {}, "Subjects"),
        h("a", { class: "button primary", href: "#/new" }, icon("plus"), "New subject"),
      ),
      grid,
    ]);
    for (const subject of subjects) {
      if (!cards.has(subject.id)) cards.set(subject.id, card());
      cards.get(subject.id).show(subject, signal);
    }
    const shown = subjects.map(({ id }) => cards.get(id));
    if (shown.some((each, k) => grid.children[k] !== each) || grid.children.length !== shown.length) grid.replaceChildren(...shown);
    return subjects;
  };
  let subjects = await look();
  main.append(place);
  const again = async () => (subjects = await look().catch(() => subjects));
  every(() => (subjects.some((each) => each.jobs.some(active)) ? 3 : 15), again, signal).catch(() => {});
  return null;
}

function empty() {
  return h(
    "section",
    { class: "hero" },
    h("h1", {}, "A person, learnt from a minute of video."),
    h("p", { class: "lead" }, "Then any speech becomes a video of them saying it."),
    h("ol", { class: "steps" }, STEPS.map(([sign, title, text]) => h("li", {}, icon(sign), h("h2", {}, title), h("p", {}, text)))),
    h("a", { class: "button primary large", href: "#/new" }, icon("plus"), "Make the first subject"),
  );
}

function card() {
  const image = h("img", { alt: "", width: 320, height: 320 });
  const name = h("span", { class: "card-name" });
  const state = h("span", {});
  const below = h("div", { class: "card-below" });
  const progress = bar("");
  const link = h("a", { class: "card" }, h("span", { class: "portrait" }, icon("person"), image), h("span", { class: "card-head" }, name, state), below);
  const item = h("li", {}, link);
  item.show = (subject, signal) => {
    link.href = `#/subjects/${subject.id}`;
    name.textContent = subject.name;
    const shown = strings.subjectState(subject);
    fill(state, shown, () => chip(shown, strings.SUBJECT_STATES));
    const job = subject.jobs.find(active);
    const failed = subject.state === "failed" && subject.jobs.findLast((each) => each.error);
    const quality = subject.state === "ready" && strings.quality(subject.quality);
    if (job) {
      fill(below, "job", () => progress);
      showJob(progress, job);
    } else if (failed) fill(below, failed.error, () => h("p", { class: "small bad" }, failed.error.message));
    else if (quality) fill(below, quality.word, () => h("p", { class: `small ${quality.verdict}` }, quality.word));
    else fill(below, "", () => []);
    if (subject.links.preview && (!image.src || subject.state === "training" || item.state !== subject.state)) {
      picture(image, subject.links.preview, signal).catch(() => {});
    }
    item.state = subject.state;
  };
  return item;
}
