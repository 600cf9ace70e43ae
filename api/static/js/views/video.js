// One video: progress, player, download.

import { list, mediaUrl, read, write } from "../api.js";
import { announce, confirm, fill, h, icon } from "../dom.js";
import { attempt, bar, chip, failure, showJob } from "../parts.js";
import { active, watchJob } from "../job_events.js";
import * as strings from "../strings.js";

export async function videoView(main, [id], signal) {
  const path = `/v1/videos/${id}`;
  let video = await read(path, { signal });
  let subject = await read(video.links.subject, { signal });
  const withdrawn = () => Boolean(subject.consent.withdrawn_at);
  const others = (await list(`/v1/videos?state=ready&subject_id=${subject.id}`, { signal, most: 100 })).filter((each) => each.id !== id);
  let captions = null;
  const sources = async () => {
    const vtt = video.options.captions.file === "vtt" && video.links.captions;
    captions = vtt ? await mediaUrl(vtt, signal) : null;
    return video.links.file && (await mediaUrl(video.links.file, signal));
  };
  const url = await sources();
  const title = video.title ?? (video.idle_s ? `${subject.name}, silent` : `${subject.name} speaks`);
  const [head, stage, problem] = [h("div", {}), h("div", {}), h("div", {})];
  const progress = bar("");
  main.append(h("a", { class: "up", href: `#/subjects/${subject.id}` }, icon("back"), subject.name), head, problem, stage);

  const act = (text, sign, what, kind = "") => {
    const button = h("button", { class: `button ${kind}`, type: "button" }, icon(sign), text);
    button.addEventListener("click", () => attempt(button, problem, what));
    return button;
  };
  const move = (link) => async () => {
    await write("POST", link);
    await look();
  };
  const remove = () =>
    act(
      "Delete",
      "bin",
      async () => {
        const sure = await confirm({ title: "Delete this video?", text: "Its file is removed for ever.", action: "Delete" });
        if (!sure) return;
        await write("DELETE", path);
        location.hash = `#/subjects/${subject.id}`;
      },
      "danger",
    );
  const working = (job) => [
    h("section", { class: "panel below", "aria-label": "Progress" }, progress, h("div", { class: "row" }, act("Cancel", "stop", move(job.links.cancel)))),
  ];
  const stopped = (job) => [
    h(
      "section",
      { class: "panel below" },
      withdrawn() ? h("p", {}, strings.WITHDRAWN) : job.error ? failure(job) : h("p", {}, "It was cancelled."),
      h("div", { class: "row" }, !withdrawn() && act("Try again", "again", move(job.links.retry)), remove()),
    ),
  ];
  const ready = (source) => {
    const clear = video.options.background.kind === "transparent" ? "clear" : "";
    return h(
      "div",
      { class: video.width > video.height ? "split broad" : "split" },
      h("video", {
        class: `player ${clear}`,
        src: source,
        width: video.width,
        height: video.height,
        controls: true,
        loop: Boolean(video.idle_s),
        playsinline: true,
        preload: "metadata",
        "aria-label": title,
      }, captions && h("track", { kind: "captions", src: captions, label: "Captions", default: true })),
      h(
        "div",
        { class: "panel" },
        h("dl", { class: "facts" }, strings.facts(video).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
        h("a", { class: "button primary", href: source, download: `${subject.name}.${video.options.format}` }, icon("down"), `Download, ${strings.bytes(video.size_bytes)}`),
        video.warnings.map((each) => h("p", { class: "small", role: "status" }, each.message)),
        video.links.captions && h("a", { href: captions || video.links.captions, download: `${subject.name}.${video.options.captions.file}` }, "Save the captions"),
        others.length > 0 && compareWith(id, others),
        h("p", { class: "faint small" }, "It is signed and carries an invisible mark: ", h("a", { href: "#/verify" }, "anybody can see that it was made here"), "."),
        h("div", { class: "row" }, remove()),
      ),
    );
  };
  const show = (source) => {
    const state = strings.videoState(video, subject);
    fill(head, state, () => [h("div", { class: "head" }, h("h1", {}, title), chip(state, strings.VIDEO_STATES)), h("p", { class: "faint small" }, strings.when(video.created_at))]);
    fill(stage, [video.state === "ready", withdrawn(), active(video.job), video.job.error], () => (video.state === "ready" ? ready(source) : active(video.job) ? working(video.job) : stopped(video.job)));
    if (active(video.job)) showJob(progress, video.job);
  };
  const look = async () => {
    video = await read(path, { signal });
    subject = await read(video.links.subject, { signal });
    show(await sources());
    if (active(video.job)) watch();
  };
  const hear = (job) => {
    video.job = job;
    if (active(job)) {
      video.state = { running: "rendering" }[job.state] ?? "pending";
      show();
    } else {
      announce(strings.VIDEO_STATES[{ succeeded: "ready" }[job.state] ?? job.state]);
      look().catch(() => {});
    }
  };
  const watch = () => watchJob(video.job.id, hear, signal).catch(() => {});
  show(url);
  if (active(video.job)) watch();
  return title;
}

function compareWith(id, others) {
  const choice = h(
    "select",
    { "aria-label": "Compare with another video", onchange: () => (location.hash = `#/compare/${id}/${choice.value}`) },
    h("option", { value: "" }, "Compare with…"),
    others.map((each) => h("option", { value: each.id }, `${strings.when(each.created_at)}, ${strings.choices(each)}`)),
  );
  return choice;
}
