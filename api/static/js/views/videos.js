// All videos: found by words, person and state; some of them chosen to compare, download or delete.

import { key, list, mediaUrl, named, page, picture } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { when } from "../format.js";
import { active, follow, sleep } from "../jobs.js";
import { act, bar, chip, field } from "../parts.js";
import { t } from "../text.js";
import { toTrash, trashLink } from "../trash.js";
import { showJob } from "../waiting.js";
import * as words from "../words.js";

const PAGE = 24;
const STATES = ["ready", "rendering", "pending", "failed", "cancelled"];
/** Seconds between two downloads: browsers drop those that follow too fast. */
const BETWEEN_S = 0.4;

export async function videosView(main, [of], signal) {
  const people = new Map((await list("/v1/subjects", { signal })).map((each) => [each.id, each]));
  const cards = new Map();
  const chosen = new Set();
  const problem = h("div", {});
  const place = h("div", {});
  const count = h("span", { class: "strong", role: "status" });
  const wanted = { text: "", person: of ?? "", state: "", most: PAGE };
  let found = { items: [], more: false };

  const option = (value, name) => h("option", { value }, name);
  const find = h("input", { type: "search", oninput: () => again({ text: find.value.trim().toLowerCase() }) });
  const person = h("select", { onchange: () => again({ person: person.value }) }, option("", t("videos.anyone")), [...people.values()].map((each) => option(each.id, each.name)));
  person.value = wanted.person;
  const state = h("select", { onchange: () => again({ state: state.value }) }, option("", t("videos.anystate")), STATES.map((each) => option(each, words.stateName(each))));
  const more = act(t("videos.more"), null, async () => again({ most: wanted.most + PAGE }), problem);
  const again = async (change) => {
    Object.assign(wanted, { most: PAGE }, change);
    await look().catch(() => {});
  };
  const selected = () => [...chosen].map((id) => cards.get(id).video);
  const compare = h("a", { class: "button small" }, icon("pair"), t("compare.two"));
  const download = act(t("videos.download"), "down", async () => {
    for (const each of selected().filter(({ links }) => links.file)) await save(each, people.get(each.subject_id), signal);
  }, problem, "small");
  const remove = act(t("delete"), "bin", async () => {
    await toTrash(selected(), (count) => t("trash.moved", { count }), () => signal.aborted || look());
    chosen.clear();
    for (const each of cards.values()) each.untick();
    await look();
  }, problem, "small danger");
  const tools = h("div", { class: "row tools", hidden: true }, count, compare, download, remove);
  const choose = (id, on) => {
    if (on) chosen.add(id);
    else chosen.delete(id);
    showTools();
  };
  const showTools = () => {
    tools.hidden = !chosen.size;
    count.textContent = t("videos.chosen", { count: chosen.size });
    compare.hidden = chosen.size !== 2 || selected().some((each) => each.state !== "ready");
    compare.href = `#/compare/${[...chosen].join("/")}`;
  };
  const card = ({ id }) => cards.get(id) ?? cards.set(id, videoCard(choose)).get(id);
  const look = async () => {
    const asked = { ...wanted };
    const got = await search(asked, people, signal);
    if (asked.text !== wanted.text || asked.person !== wanted.person || asked.state !== wanted.state) return; // asked anew meanwhile
    found = got;
    const none = t(wanted.text || wanted.person || wanted.state ? "videos.nothing" : "videos.none");
    fill(place, found.items.map(({ id }) => id), () => (found.items.length ? h("ul", { class: "list" }, found.items.map(card)) : h("p", { class: "lead" }, none)));
    for (const each of found.items) card(each).show(each, people.get(each.subject_id), signal);
    more.hidden = !found.more;
    filters.hidden = !found.items.length && none === t("videos.none");
    showTools();
  };
  const filters = h("div", { class: "filters" }, field(t("videos.find"), find), field(t("person"), person), field(t("videos.state"), state));
  await look();
  main.append(h("div", { class: "head" }, h("h1", {}, t("nav.videos")), trashLink(), h("a", { class: "button primary", href: "#/" }, icon("plus"), t("nav.make"))), filters, tools, problem, place, h("div", { class: "row" }, more));
  follow(() => found.items.some((each) => active(each.job)), look, signal);
  return t("nav.videos");
}

/** The newest videos that are wanted: {items, more}. The service filters by person and state, the page by words. */
async function search({ text, person, state, most }, people, signal) {
  const query = new URLSearchParams(Object.entries({ subject_id: person, state }).filter(([, value]) => value));
  const items = [];
  let cursor = null;
  do {
    const got = await page(`/v1/videos?${query}`, { signal, cursor, limit: text ? 100 : PAGE });
    items.push(...got.items.filter((each) => !text || says(each, people.get(each.subject_id)).includes(text)));
    cursor = got.next_cursor;
  } while (cursor && items.length < most);
  return { items: items.slice(0, most), more: Boolean(cursor) || items.length > most };
}

const says = (video, subject) => [subject?.name, words.videoTitle(video), words.choices(video), when(video.created_at)].join(" ").toLowerCase();

async function save(video, subject, signal) {
  const name = words.fileName(video, subject);
  const url = await mediaUrl(video.links.file, signal);
  h("a", { href: named(url, name), download: name }).click();
  await sleep(BETWEEN_S, signal);
}

/** A line of a list of videos: an element with `show(video, subject, signal)`. `choose(id, on)` makes it one that can be ticked. */
export function videoCard(choose = null) {
  const image = h("img", { alt: "", width: 96, height: 64, loading: "lazy" });
  const title = h("a", { class: "strong" });
  const about = h("span", { class: "faint small" });
  const state = h("span", { class: "line-state" });
  const progress = bar("");
  const below = h("div", {});
  const tick = h("input", { type: "checkbox", onchange: () => choose(item.video.id, tick.checked) });
  const item = h("li", { class: "line" }, choose && h("label", { class: "tick" }, tick), image, h("div", { class: "line-words" }, title, about, state, below));
  item.untick = () => (tick.checked = false);
  item.show = (video, subject, signal) => {
    item.video = video;
    title.href = `#/videos/${video.id}`;
    title.textContent = `${subject?.name ?? ""}: ${words.videoTitle(video)}`;
    tick.setAttribute("aria-label", t("videos.choose", { name: `${title.textContent}, ${when(video.created_at)}` }));
    about.textContent = [when(video.created_at), words.choices(video)].filter(Boolean).join(" · ");
    const shown = words.videoState(video, subject);
    fill(state, shown, () => chip(shown));
    if (active(video.job)) {
      fill(below, "job", () => progress);
      showJob(progress, video.job);
    } else fill(below, video.job.error, () => video.job.error && h("p", { class: "small bad" }, video.job.error.message));
    showPoster(image, shown === "withdrawn" ? null : (video.links.thumbnail ?? subject?.links.preview), signal);
  };
  return item;
}

/** Shows the picture at `path` in a line of a list; none where there is none. */
export function showPoster(image, path, signal) {
  if (!path) image.hidden = true;
  else if (image.dataset.path !== path) {
    image.hidden = false;
    image.dataset.path = path;
    if (key()) picture(image, path, signal).catch(() => {});
    else image.src = path;
  }
}
