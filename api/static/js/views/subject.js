// One subject: training, quality, and its videos.

import { list, mediaUrl, key, picture, read, write } from "../api.js";
import { confirm, fill, h, icon, announce } from "../dom.js";
import { attempt, bar, chip, failure, field, problemBox, showJob } from "../parts.js";
import { videoForm } from "../video_form.js";
import { active, every, watchJob } from "../job_events.js";
import { videoCard } from "./videos.js";
import * as strings from "../strings.js";

// What each step is called while it goes on, and otherwise.
const STEPS = [
  ["Sending", "Sent"],
  ["Checking footage", "Footage checked"],
  ["Learning", "Person learnt"],
  ["Ready to speak", "Ready to speak"],
];

/** Codes of failures that are not the footage's fault. */
const OURS = ["internal_error", "worker_lost", "disk_full", "out_of_memory", "store_away", "missing_backend", "no_such_device"];

export async function subjectView(main, [id], signal) {
  const path = `/v1/subjects/${id}`;
  let subject = await read(path, { signal });
  const part = Object.fromEntries(["head", "work", "footage", "quality", "speak", "videos", "more", "problem"].map((name) => [name, h("div", {})]));
  const image = h("img", { alt: `${subject.name}, as learnt so far`, width: 480, height: 480 });
  const caption = h("figcaption", { class: "faint small" });
  const stage = h("figure", { class: "portrait large" }, image, caption);
  main.append(
    h("a", { class: "up", href: "#/" }, icon("back"), "Subjects"),
    part.head,
    part.problem,
    h("div", { class: "split three" }, stage, h("div", {}, part.work, part.speak, part.videos), h("div", {}, part.footage, part.quality, part.more)),
  );
  const progress = bar("");
  let watched = null;
  let told = null;

  const show = () => {
    if (signal.aborted) return;
    const job = subject.jobs.find(active);
    const shown = strings.subjectState(subject);
    fill(part.head, [subject.name, shown], () => heading());
    fill(part.work, [shown, job?.id, job?.state === "queued", subject.jobs.map((each) => each.error)], () => work(job));
    if (job) showJob(progress, job);
    tell(job ? strings.stage(job) : strings.SUBJECT_STATES[shown]);
    fill(part.footage, subject.footage, () => subject.footage && footagePanel(subject.footage));
    fill(part.quality, [subject.quality, subject.links.report], () => qualityPanel(subject));
    fill(part.more, [shown, subject.name], () => more());
    fill(part.speak, subject.state === "ready" && subject.view_limits, () => subject.state === "ready" && videoForm(subject, signal, asked));
    stage.hidden = !subject.links.preview && ["failed", "cancelled", "withdrawn"].includes(shown);
    stage.classList.toggle("empty", !subject.links.preview);
    const strip = Boolean(subject.links.preview) && subject.state !== "ready";
    stage.classList.toggle("strip", strip);
    caption.textContent = strip ? "Above, moments of the footage; below, the same as learnt so far." : "The newest picture of training appears here.";
    if (subject.links.preview) picture(image, subject.links.preview, signal).catch(() => {});
    if (job && job.id !== watched) {
      watched = job.id;
      watchJob(job.id, (now) => hear(now), signal).catch(() => {});
    }
  };
  const tell = (text) => {
    if (told !== null && text !== told) announce(text); // what is so at the beginning is there to be read
    told = text;
  };
  const look = async () => {
    subject = await read(path, { signal });
    show();
  };
  const hear = (job) => {
    const before = subject.jobs.find((each) => each.id === job.id);
    subject.jobs = subject.jobs.map((each) => (each.id === job.id ? job : each));
    if (job.state !== before?.state) look().catch(() => {});
    else show();
  };
  const asked = (video) => (location.hash = `#/videos/${video.id}`);
  const act = (button, what) => attempt(button, part.problem, async () => (await what(), await look()));

  const heading = () => [
    h("div", { class: "head" }, h("h1", {}, subject.name), chip(strings.subjectState(subject), strings.SUBJECT_STATES)),
    h("p", { class: "faint small" }, `Made ${strings.when(subject.created_at)} · preset ${subject.preset}`),
  ];

  const work = (job) => {
    if (subject.state === "ready") return null;
    const failed = !job && subject.jobs.findLast((each) => ["failed", "cancelled"].includes(each.state));
    const button = (text, sign, path) => {
      const element = h("button", { class: "button", type: "button" }, icon(sign), text);
      element.addEventListener("click", () => act(element, () => write("POST", path)));
      return element;
    };
    return h(
      "section",
      { class: "panel", "aria-label": "Progress" },
      steps(subject),
      job && [progress, h("div", { class: "row" }, button("Cancel", "stop", job.links.cancel))],
      failed?.error && failure(failed),
      failed && strings.subjectState(subject) !== "withdrawn" && [
        failed.state === "cancelled" && h("p", {}, "It was cancelled. What stands is kept: it can go on from there."),
        h("div", { class: "row" }, ways(failed, button("Try again", "again", failed.links.retry))),
      ],
      strings.subjectState(subject) === "withdrawn" && h("p", {}, strings.WITHDRAWN),
    );
  };

  const more = () => {
    const problem = h("div", {});
    const run = (button, dialog, what) => async () => {
      const values = await confirm(dialog);
      if (values) await attempt(button, problem, () => what(values));
    };
    const rename = h("button", { class: "button small", type: "button" }, icon("pen"), "Rename");
    const input = h("input", { type: "text", name: "name", value: subject.name, required: true, maxlength: 200 });
    rename.addEventListener(
      "click",
      run(rename, { title: "Rename", text: "The name is for you; ids stay.", action: "Rename", kind: "primary", extra: field("Name", input) }, async (values) => {
        await write("PATCH", path, { name: values.get("name") });
        await look();
      }),
    );
    const withdraw = h("button", { class: "button small", type: "button" }, icon("shield"), "Withdraw consent");
    const purge = h("label", { class: "check" }, h("input", { type: "checkbox", name: "purge" }), "Also remove the footage, the models and all videos");
    const text = "Nothing of this person is made or shown from then on, and what is in work is cancelled. It cannot be taken back.";
    withdraw.addEventListener(
      "click",
      run(withdraw, { title: `Withdraw ${subject.name}'s consent?`, text, action: "Withdraw", extra: purge }, async (values) => {
        await write("POST", `${path}/withdraw-consent`, { purge: values.has("purge") });
        await look();
      }),
    );
    const remove = h("button", { class: "button small danger", type: "button" }, icon("bin"), "Delete");
    remove.addEventListener(
      "click",
      run(remove, { title: `Delete ${subject.name}?`, text: "The subject, all its videos and the footage are removed for ever.", action: "Delete" }, async () => {
        await write("DELETE", path);
        location.hash = "#/";
      }),
    );
    const consent = h("details", {}, h("summary", {}, "Consent"), h("p", {}, subject.consent.text), h("p", { class: "faint small" }, `Recorded ${strings.when(subject.consent.given_at)}${subject.consent.withdrawn_at ? `, withdrawn ${strings.when(subject.consent.withdrawn_at)}` : ""}`));
    return [consent, h("div", { class: "row" }, rename, strings.subjectState(subject) !== "withdrawn" && withdraw, remove), problem];
  };

  show();
  const cards = new Map();
  const videos = async () => {
    const found = await list(`/v1/videos?subject_id=${id}`, { signal, most: 100 });
    fill(part.videos, found.map((each) => each.id), () => found.length && [h("h2", {}, "Videos"), h("ul", { class: "list" }, found.map((each) => cards.get(each.id) ?? (cards.set(each.id, videoCard()), cards.get(each.id))))]);
    for (const each of found) cards.get(each.id).show(each, subject);
  };
  await videos();
  every(4, () => Promise.all([look(), videos()]).catch((error) => error.status === 404 && part.problem.replaceChildren(problemBox(error))), signal).catch(() => {});
  return subject.name;
}

/** What to do after a job that stopped: footage that was refused is refused again, so other footage comes first. */
function ways(failed, again) {
  const refused = failed.kind === "preprocess" && failed.error && !OURS.includes(failed.error.code);
  const other = h("a", { class: `button ${refused ? "primary" : ""}`, href: "#/new" }, "Send other footage");
  return refused ? [other, again] : [again, other];
}

function steps(subject) {
  const done = { pending: 1, preprocessing: 1, training: 2, ready: 4 }[subject.state] ?? (subject.jobs.length > 1 ? 2 : 1);
  return h(
    "ol",
    { class: "way" },
    STEPS.map(([now, name], k) => {
      const current = k === done && !["failed", "cancelled"].includes(subject.state);
      return h("li", { class: k < done ? "done" : current ? "now" : "", "aria-current": current ? "step" : null }, current ? now : name);
    }),
  );
}

function footagePanel(found) {
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, "The footage"),
    h("dl", { class: "facts" }, strings.footage(found).map(([label, value, hint]) => h("div", {}, h("dt", {}, label), h("dd", {}, value, hint && h("span", { class: "faint small" }, hint))))),
    found.warnings.length > 0 && h("ul", { class: "warnings" }, found.warnings.map((each) => h("li", {}, icon("warn"), each))),
  );
}

function qualityPanel(subject) {
  const judged = strings.quality(subject.quality);
  if (!judged) return null;
  const link = h("a", { class: "button small", target: "_blank", rel: "noopener" }, icon("open"), "The whole report");
  if (key()) link.addEventListener("click", (event) => saveReport(event, subject));
  link.href = subject.links.report ?? "#";
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, "How good it is: ", h("span", { class: judged.verdict }, judged.word.toLowerCase())),
    h("dl", { class: "facts" }, judged.lines.map((line) => h("div", {}, h("dt", {}, line.title), h("dd", { class: line.verdict }, line.value, h("span", { class: "faint small" }, line.hint))))),
    h("p", { class: "faint small" }, `Measured on ${subject.quality.held_out_frames} frames of the footage that training never saw.`),
    subject.links.report && link,
  );
}

/** With a key a link leads nowhere: the report is fetched with it and saved. */
async function saveReport(event, subject) {
  event.preventDefault();
  const link = h("a", { href: await mediaUrl(subject.links.report), download: `${subject.name}.html` });
  link.click();
}
