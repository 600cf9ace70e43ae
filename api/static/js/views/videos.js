// All videos, and the selection of two to compare.

import { list, picture, read } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { bar, chip, showJob } from "../parts.js";
import { active, every } from "../job_events.js";
import * as strings from "../strings.js";

export async function videosView(main, _args, signal) {
  const cards = new Map();
  const subjects = new Map();
  const chosen = new Set();
  const place = h("div", { class: "below" });
  const compare = h("a", { class: "button", hidden: true }, icon("pair"), "Compare the two");
  const choose = (id, on) => {
    if (on) chosen.add(id);
    else chosen.delete(id);
    compare.hidden = chosen.size !== 2;
    compare.href = `#/compare/${[...chosen].join("/")}`;
    for (const card of cards.values()) card.full(chosen.size === 2);
  };
  const look = async () => {
    const found = await list("/v1/videos", { signal });
    for (const { id } of found) if (!cards.has(id)) cards.set(id, videoCard(choose));
    fill(place, found.map(({ id }) => id), () =>
      found.length ? h("ul", { class: "list" }, found.map(({ id }) => cards.get(id))) : h("p", { class: "lead" }, "There are none yet. Open a subject that is ready, and let it speak."),
    );
    for (const id of new Set(found.map((each) => each.subject_id))) {
      if (!subjects.has(id)) subjects.set(id, await read(`/v1/subjects/${id}`, { signal }));
    }
    for (const video of found) {
      const card = cards.get(video.id);
      card.show(video, subjects.get(video.subject_id), signal);
      card.full(chosen.size === 2);
    }
    return found;
  };
  let found = await look();
  const ready = found.filter((each) => each.state === "ready").length;
  main.append(
    h("div", {}, h("div", { class: "head" }, h("h1", {}, "Videos"), compare), ready > 1 && h("p", { class: "faint" }, "Tick two to see them side by side.")),
    place,
  );
  const again = async () => (found = await look().catch(() => found));
  every(() => (found.some((each) => active(each.job)) ? 3 : 15), again, signal).catch(() => {});
  return "Videos";
}

/** A line of a list of videos: an element with `show(video, subject, signal)` and `full(two are chosen)`. */
export function videoCard(choose = null) {
  const image = h("img", { alt: "", width: 64, height: 64 });
  const title = h("a", { class: "strong" });
  const about = h("span", { class: "faint small" });
  const state = h("span", { class: "line-state" });
  const progress = bar("");
  const below = h("div", {});
  const tick = h("input", { type: "checkbox", onchange: () => choose(item.video.id, tick.checked) });
  const item = h("li", { class: "line" }, choose && tick, image, h("div", { class: "line-words" }, title, about, state, below));
  item.full = (full) => (tick.disabled = item.video.state !== "ready" || (full && !tick.checked));
  item.show = (video, subject, signal) => {
    item.video = video;
    title.href = `#/videos/${video.id}`;
    title.textContent = `${subject.name}, ${strings.when(video.created_at)}`;
    tick.setAttribute("aria-label", `Compare ${title.textContent}`);
    about.textContent = strings.choices(video);
    const shown = strings.videoState(video, subject);
    fill(state, shown, () => chip(shown, strings.VIDEO_STATES));
    if (active(video.job)) {
      fill(below, "job", () => progress);
      showJob(progress, video.job);
    } else fill(below, video.job.error, () => video.job.error && h("p", { class: "small bad" }, video.job.error.message));
    if (!subject.links.preview) image.remove();
    else if (!image.src) picture(image, subject.links.preview, signal).catch(() => {});
  };
  return item;
}
