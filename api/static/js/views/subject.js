// One person: the way to being ready, then making videos.

import { change, list, mediaUrl, page, picture, read, write } from "../api.js";
import { saveBundle } from "../bundle.js";
import { draft } from "../draft.js";
import { announce, confirm, fill, h, icon } from "../dom.js";
import { duration, percent, when } from "../format.js";
import { videoForm } from "../form/form.js";
import { active, follow } from "../jobs.js";
import { act, bar, chip, factList, failure, problemBox } from "../parts.js";
import { nameHeading } from "../rename.js";
import { t } from "../text.js";
import { restore, toTrash, untilWords } from "../trash.js";
import { aheadOf, countdown, notifyButton, notifyDone, setTitle, showJob, spentIn, tabProgress } from "../waiting.js";
import { footage, quality, stage, stateName, subjectState } from "../words.js";
import { videoCard } from "./videos.js";

/** Videos that are listed here; the rest is on the page of all videos. */
const LISTED = 10;
const STEPS = ["sent", "checked", "trained", "ready"];
/** Codes of failures that are not the footage's fault. */
const OURS = ["internal_error", "worker_lost", "disk_full", "out_of_memory", "store_away", "missing_backend", "no_such_device"];

export async function subjectView(main, [id], signal) {
  const path = `/v1/subjects/${id}`;
  let subject = await read(path, { signal });
  const names = ["head", "work", "footage", "quality", "speak", "videos", "more", "problem", "film"];
  const part = Object.fromEntries(names.map((name) => [name, h("div", {})]));
  const grown = h("figure", { class: "grown" }, h("img", { alt: "", width: 480, height: 240 }), h("figcaption", { class: "faint small" }, t("preview.strip")));
  const soon = h("p", { class: "faint small" }, t("preview.soon"));
  const film = h("div", { class: "film" }, part.film, soon, grown);
  const about = h("div", {}, part.footage, part.quality, part.more);
  const split = h("div", { class: "split way-of" }, film, h("div", {}, part.work, about));
  main.append(h("a", { class: "up", href: "#/people" }, icon("back"), t("nav.people")), part.head, part.problem, part.speak, part.videos, split);
  const progress = bar("");
  const left = countdown();
  let told = null;
  let people = [];

  const show = () => {
    const job = subject.jobs.find(active);
    const shown = subjectState(subject);
    const ready = shown === "ready" && !subject.trashed_until;
    naming.update(subject);
    fill(part.head, [shown, subject.trashed_until], () => heading());
    fill(part.work, [shown, subject.trashed_until, job?.id, subject.jobs.map((each) => each.error)], () => work(job));
    showProgress(job);
    const now = job ? stage(job) : stateName(shown);
    if (told !== null && now !== told) announce(now); // what is so at the beginning is there to be read
    if (told !== null && now !== told && !job) notifyDone(`${subject.name}: ${now}`);
    told = now;
    fill(part.footage, subject.footage, () => subject.footage && footagePanel(subject.footage));
    fill(part.quality, [subject.quality, subject.links.report], () => qualityPanel(subject));
    fill(part.more, [shown, subject.name, subject.trashed_until, subject.consent.may_improve_others], () => (subject.trashed_until ? [] : more()));
    fill(part.speak, [ready, subject.view_limits, subject.name], () => ready && videoForm(subject, signal, asked));
    const withdrawn = shown === "withdrawn"; // it has no pictures any more, and why comes before its videos
    if (withdrawn) split.after(part.videos);
    film.hidden = ready || withdrawn;
    split.classList.toggle("single", ready || withdrawn);
    about.classList.toggle("three", ready || withdrawn);
    grown.hidden = !subject.links.preview;
    grown.firstChild.alt = t("preview.alt", { name: subject.name });
    soon.hidden = Boolean(subject.links.preview) || !job;
    if (subject.links.preview && !ready) picture(grown.firstChild, subject.links.preview, signal).catch(() => {});
  };
  const showProgress = (job) => {
    if (!job) return tabProgress(null);
    const whole = left(subject.eta_s ?? null, spentIn(subject.jobs));
    showJob(progress, job, aheadOf(job, people));
    if (!whole) return tabProgress(job.progress);
    progress.update({ share: whole.share, left: progress.querySelector("span").textContent, right: `${percent(whole.share)} · ${t("time.ready", { time: duration(whole.left_s) })}` });
    return tabProgress(whole.share);
  };
  const look = async () => {
    subject = await read(path, { signal });
    if (subject.jobs.some((each) => each.state === "queued")) people = await list("/v1/subjects", { signal });
    show();
  };
  const asked = (video) => (location.hash = `#/videos/${video.id}`);
  const button = (text, sign, link, kind) => act(text, sign, async () => (await write("POST", link), await look()), part.problem, kind);

  const heading = () => [
    h("div", { class: "head" }, naming.element, chip(subjectState(subject))),
    h("p", { class: "faint small" }, t("subject.made", { when: when(subject.created_at), preset: t(`preset.${subject.preset}`) })),
    subject.trashed_until && h("section", { class: "panel" }, h("p", {}, untilWords(subject, when)), h("div", { class: "row" }, act(t("restore"), "again", async () => (await restore(subject), await look()), part.problem, "primary"))),
  ];

  const work = (job) => {
    const withdrawn = subjectState(subject) === "withdrawn";
    if (subject.trashed_until || (subject.state === "ready" && !withdrawn)) return null;
    const failed = !job && subject.jobs.findLast((each) => ["failed", "cancelled"].includes(each.state));
    return h(
      "section",
      { class: "panel", "aria-label": t("progress") },
      steps(subject),
      job && [progress, h("p", { class: "faint small" }, t("wait.close")), h("div", { class: "row" }, notifyButton(), button(t("cancel"), "stop", job.links.cancel, "small"))],
      failed?.error && failure(failed),
      failed && !withdrawn && [
        failed.state === "cancelled" && h("p", {}, t("subject.cancelled")),
        h("div", { class: "row" }, ways(failed, button(t("again"), "again", failed.links.retry))),
      ],
      withdrawn && h("p", {}, t("withdrawn")),
    );
  };

  const naming = nameHeading(subject, { field: "name", label: t("name"), pen: t("rename"), shown: (each) => each.name }, part.problem, (changed) => {
    subject = changed;
    show();
    setTitle(subject.name);
    videos().catch(() => {}); // their cards name the person
  });
  const spoken = h("div", { class: "stack" });
  const more = () => management(subject, signal, lookAtAll, spoken);

  const cards = new Map();
  const videos = async () => {
    const { items, next_cursor: rest } = await page(`/v1/videos?subject_id=${id}`, { signal, limit: LISTED });
    const card = (each) => cards.get(each.id) ?? cards.set(each.id, videoCard()).get(each.id);
    fill(part.videos, [items.map((each) => each.id), rest], () =>
      items.length && [h("h2", {}, t("nav.videos")), h("ul", { class: "list" }, items.map(card)), rest && h("a", { class: "button", href: `#/videos?person=${id}` }, t("videos.all"))],
    );
    for (const each of items) card(each).show(each, subject, signal);
    busy = items.some((each) => active(each.job));
  };
  const lookAtAll = async () => {
    await look();
    await videos();
  };
  let busy = false;
  show();
  await videos();
  if (subject.state !== "ready") showFilm(part.film, subject, signal);
  follow(
    () => busy || subject.jobs.some(active),
    lookAtAll,
    signal,
    (error) => error.status === 404 && part.problem.replaceChildren(problemBox(error)),
  );
  return subject.name;
}

/** Shows the footage itself: from this tab if it was sent from here, else from the service. */
async function showFilm(place, subject, signal) {
  const sent = draft(`footage of ${subject.id}`).file;
  const url = sent ? URL.createObjectURL(sent) : subject.links.footage && (await mediaUrl(subject.links.footage, signal));
  if (!url || signal.aborted) return;
  const player = h("video", { class: "player", src: url, controls: true, muted: true, playsinline: true, preload: "metadata", "aria-label": t("create.player", { name: subject.name }) });
  player.addEventListener("error", () => player.remove()); // not every browser plays every footage
  place.replaceChildren(player);
  signal.addEventListener("abort", () => {
    player.removeAttribute("src");
    if (sent) URL.revokeObjectURL(url);
  });
}

/** Consent, and what can be done with the person as a whole. `spoken` is the place of the clip: whoever watches it goes on when the rest changes. */
function management(subject, signal, look, spoken) {
  const path = `/v1/subjects/${subject.id}`;
  const problem = h("div", {});
  const withdrawn = subject.consent.withdrawn_at;
  const ask = (text, sign, kind, dialog, what) =>
    act(text, sign, async () => {
      const values = await confirm(await dialog());
      if (values) await what(values);
    }, problem, `small ${kind}`);
  const purge = () => h("label", { class: "check" }, h("input", { type: "checkbox", name: "purge" }), t("withdraw.purge"));
  const withdraw = ask(t("withdraw"), "shield", "", () => ({ title: t("withdraw.title", { name: subject.name }), text: t("withdraw.text"), action: t("withdraw.yes"), extra: purge() }), async (values) => {
    await write("POST", `${path}/withdraw-consent`, { purge: values.has("purge") });
    await look();
  });
  const improves = subject.consent.may_improve_others;
  const improve = act(t(improves ? "improve.revoke" : "improve.allow"), "shield", async () => {
    await change(subject, { may_improve_others: !improves });
    await look();
  }, problem, "small");
  const remove = act(t("delete"), "bin", async () => {
    await toTrash([subject], () => t("trash.person", { name: subject.name }), () => (location.hash = `#/subjects/${subject.id}`));
    if (location.hash === `#/subjects/${subject.id}`) location.hash = "#/people"; // unless one has gone elsewhere meanwhile
  }, problem, "small danger");
  const pack = ask(t("bundle.export"), "down", "", () => ({ title: t("bundle.export.title", { name: subject.name }), text: t("bundle.export.text"), action: t("bundle.export"), kind: "primary" }), () => saveBundle(subject, signal));
  const watch = async () => {
    const src = await mediaUrl(subject.links.consent_clip, signal);
    spoken.replaceChildren(h("video", { class: "player", src, controls: true, autoplay: true, playsinline: true, "aria-label": t("clip") }));
  };
  if (!subject.links.consent_clip) spoken.replaceChildren();
  else if (!spoken.querySelector("video")) spoken.replaceChildren(act(t("clip.watch"), "play", watch, problem, "small"));
  const given = t("consent.recorded", { when: when(subject.consent.given_at) });
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, t("consent")),
    h("p", {}, subject.consent.text),
    h("p", { class: "faint small" }, withdrawn ? `${given}; ${t("consent.withdrawn", { when: when(withdrawn) })}` : given),
    spoken,
    !withdrawn && h("p", { class: "faint small" }, t(improves ? "improve.is" : "improve.not")),
    withdrawn && !subject.consent.purged_at && h("p", { class: "faint small" }, t("withdrawn.kept")),
    h("div", { class: "row" }, subject.state === "ready" && !withdrawn && pack, !withdrawn && improve, !withdrawn && withdraw, remove),
    problem,
  );
}

/** What to do after a job that stopped: footage that was refused is refused again, so other footage comes first. */
function ways(failed, again) {
  const refused = failed.kind === "preprocess" && failed.error && !OURS.includes(failed.error.code);
  const other = h("a", { class: `button ${refused ? "primary" : ""}`, href: "#/new" }, t("subject.other"));
  return refused ? [other, again] : [again, other];
}

function steps(subject) {
  const trained = Boolean(subject.quality);
  const done = trained ? 4 : ({ pending: 1, preprocessing: 1, training: 2, ready: 4 }[subject.state] ?? (subject.jobs.length > 1 ? 2 : 1));
  return h(
    "ol",
    { class: "way" },
    STEPS.map((name, k) => {
      const current = k === done && !["failed", "cancelled"].includes(subject.state);
      const state = k < done ? "done" : current ? "now" : "to come";
      return h("li", { class: state, "aria-current": current ? "step" : null }, t(`step.${name}`), h("span", { class: "unseen" }, `: ${t(`step.is.${state}`)}`));
    }),
  );
}

function footagePanel(found) {
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, t("footage")),
    factList(footage(found)),
    found.warnings.length > 0 && h("ul", { class: "warnings" }, found.warnings.map((each) => h("li", {}, icon("warn"), each))),
  );
}

function qualityPanel(subject) {
  const judged = quality(subject.quality);
  if (!judged) return null;
  const link = h("a", { class: "button small", target: "_blank", rel: "noopener", href: subject.links.report }, icon("open"), t("quality.report"));
  if (subject.links.report) mediaUrl(subject.links.report).then((url) => (link.href = url), () => {});
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, h("span", { class: judged.verdict }, t(`quality.${judged.verdict}`))),
    h("dl", { class: "facts" }, judged.lines.map((line) => h("div", {}, h("dt", {}, line.title), h("dd", { class: line.verdict }, t(`verdict.${line.verdict}`), h("span", { class: "faint small" }, line.value))))),
    h("p", { class: "faint small" }, t("quality.measured", { count: subject.quality.held_out_frames })),
    subject.links.report && link,
  );
}
