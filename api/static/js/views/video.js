// One video: progress, player, download.

import { list, mediaUrl, named, page, picture, read, write } from "../api.js";
import { announce, fill, h, icon } from "../dom.js";
import { FRAME, draft, setDraft } from "../draft.js";
import { settingsLike } from "../form/form.js";
import { ratio } from "../form/shape.js";
import { bytes, number, when } from "../format.js";
import { active, follow } from "../jobs.js";
import { act, bar, chip, factList, failure, noteBox } from "../parts.js";
import { nameHeading } from "../rename.js";
import { shareDialog } from "../share.js";
import { t } from "../text.js";
import { restore, toTrash, untilWords } from "../trash.js";
import { watch } from "../watch.js";
import { aheadOf, notifyButton, notifyDone, setTitle, showJob, tabProgress } from "../waiting.js";
import * as words from "../words.js";

/** Videos that are offered for a comparison: the newest. */
const OFFERED = 50;
/** How many times larger than its own size a video looks soft: that is said. */
const ENLARGED = 1.5;

/** Attempts that a job has (MAX_ATTEMPTS of storage/tables/jobs.py); a retry gives it as many new ones, a worker that stops one. */
const ATTEMPTS = 3;
/** Whether a job begins anew because its worker was lost. */
const interrupted = ({ state, attempt, max_attempts: most }) => most - attempt < (state === "queued" ? ATTEMPTS : ATTEMPTS - 1);

export async function videoView(main, [id], signal) {
  const path = `/v1/videos/${id}`;
  let video = await read(path, { signal });
  let subject = await read(video.links.subject, { signal });
  let watching = null; // the preview: {player, stop}
  let people = []; // to say whose work comes first
  const withdrawn = () => Boolean(subject.consent.withdrawn_at);
  const title = () => words.videoTitle(video);
  const [head, stage, problem] = [h("div", {}), h("div", {}), h("div", {})];
  const progress = bar("");
  main.append(h("a", { class: "up", href: `#/subjects/${subject.id}` }, icon("back"), subject.name), head, problem, stage);

  let shown = null; // what the title is a part of: {player, download, saved}
  const showTitle = () => {
    if (!shown) return;
    const { player, download, saved } = shown;
    const name = words.fileName(video, subject);
    player.setAttribute("aria-label", `${subject.name}: ${title()}`);
    download.download = name;
    if (player.src) download.href = named(player.src, name);
    if (saved) saved.download = name.replace(/[^.]+$/, video.options.captions.file);
  };
  const naming = { field: "title", label: t("title"), pen: t("rename.video"), shown: words.videoTitle, optional: true };
  const heading = nameHeading(video, naming, problem, (changed) => {
    video = changed;
    setTitle(title());
    showTitle();
  });

  const move = (link) => async () => {
    await write("POST", link);
    await look();
  };
  const another = () =>
    act(t("video.again"), "copy", async () => {
      settingsLike(video);
      location.hash = `#/subjects/${subject.id}`;
    }, problem);
  const remove = () =>
    act(t("delete"), "bin", async () => {
      await toTrash([video], (count) => t("trash.moved", { count }), () => (location.hash = `#/videos/${id}`));
      if (!signal.aborted) location.hash = `#/subjects/${subject.id}`;
    }, problem, "danger");
  const share = () => act(t("share"), "share", () => shareDialog(video, signal), problem);
  /** What is there to be seen before the first second of the video: the frame that was previewed, or one of the footage. */
  const showStill = async (image) => {
    const { video: asked, picture: taken } = draft(FRAME);
    const previewed = asked === id && taken;
    const path = video.links.thumbnail ?? subject.links.thumbnail ?? subject.links.preview;
    image.hidden = !previewed && !path;
    if (!previewed) return path && picture(image, path, signal);
    image.src = URL.createObjectURL(previewed);
    return signal.addEventListener("abort", () => URL.revokeObjectURL(image.src), { once: true });
  };
  const working = (job) => {
    const image = h("img", { class: "waiting-for", alt: "" });
    const shape = ratio(video.options.aspect) ?? (subject.full_frame ? subject.full_frame.width / subject.full_frame.height : 1);
    const cancel = act(t("cancel"), "stop", move(job.links.cancel), problem, "small");
    const preview = video.links.stream && h("video", { class: "watched", width: Math.round(1000 * shape), height: 1000, controls: true, playsinline: true, "aria-label": t("video.preview") });
    if (preview) {
      preview.style.setProperty("--shape", shape);
      watching = { player: preview, stop: new AbortController() };
      watch(preview, video.links.stream, AbortSignal.any([watching.stop.signal, signal])).catch(() => {});
    }
    showStill(image).then(() => preview && (preview.poster = image.src), () => {}); // browsers play once they have a second or so
    return h("section", { class: "panel below", "aria-label": t("progress") }, preview || image, preview && h("p", { class: "faint small" }, t("video.preview.unsigned")), interrupted(job) && h("p", { class: "small" }, t("wait.interrupted")), progress, h("p", { class: "faint small" }, t("wait.close")), h("div", { class: "row" }, notifyButton(), cancel));
  };
  const stopped = (job) =>
    h(
      "section",
      { class: "panel below" },
      withdrawn() ? h("p", {}, t("withdrawn")) : job.error ? failure(job) : h("p", {}, t("video.cancelled")),
      h("div", { class: "row" }, !withdrawn() && act(t("again"), "again", move(job.links.retry), problem), !withdrawn() && another(), remove()),
    );
  const ready = (place, seen) => {
    const clear = video.options.background.kind === "transparent" ? "clear" : "";
    const player = h("video", { class: `player ${clear}`, width: video.width, height: video.height, controls: true, loop: Boolean(video.idle_s), playsinline: true, preload: "metadata" });
    player.style.setProperty("--shape", video.width / video.height);
    const download = h("a", { class: "button primary" }, icon("down"), t("download", { size: bytes(video.size_bytes) }));
    mediaUrl(video.links.file, signal).then((url) => {
      player.src = url;
      if (seen) player.currentTime = seen.at;
      if (seen?.playing) player.play().catch(() => {});
      showTitle();
    }, () => {});
    const compare = h("div", {});
    const { captions } = video.links;
    const saved = captions && h("a", { class: "button" }, icon("down"), t("captions.save"));
    if (captions) {
      mediaUrl(captions, signal).then((url) => {
        saved.href = url;
        if (video.options.captions.file === "vtt") player.append(h("track", { kind: "captions", src: url, label: t("captions"), default: !video.options.captions.burn }));
      }, () => {});
    }
    shown = { player, download, saved };
    showTitle();
    offer(compare, video, signal);
    const enlarged = h("p", { class: "faint small" });
    new ResizeObserver(() => {
      const times = player.clientWidth / video.width;
      enlarged.textContent = times < ENLARGED ? "" : t("video.enlarged", { times: number(times, 1), width: video.width, height: video.height });
    }).observe(player);
    place.append(
      h("div", { class: "stage" }, player, enlarged),
      ...(video.warnings ?? []).map((each) => noteBox(each.message)),
      h("div", { class: "row" }, download, saved, share(), another(), remove()),
      h("div", { class: "split" }, h("section", { class: "panel" }, h("h2", {}, t("video.about")), factList(words.facts(video))), h("div", {}, compare, h("p", { class: "faint small" }, t("video.signed"), " ", h("a", { href: "#/verify" }, t("nav.verify"))))),
    );
    return place;
  };
  const trashed = () => {
    const back = act(t("restore"), "again", async () => (await restore(video.trashed_until && subject.trashed_until ? subject : video), await look()), problem, "primary");
    return h("section", { class: "panel below" }, h("p", {}, untilWords(video, when)), h("div", { class: "row" }, back));
  };
  const show = () => {
    const state = words.videoState(video, subject);
    fill(head, [state, subject.name], () => [h("div", { class: "head" }, heading.element, chip(state)), h("p", { class: "faint small" }, `${subject.name} · ${when(video.created_at)}`)]);
    fill(stage, [video.state === "ready", withdrawn(), active(video.job), interrupted(video.job), video.job.error, active(video.job) && video.links.stream, video.trashed_until], () => {
      const seen = watching && { at: watching.player.currentTime, playing: !watching.player.paused && !watching.player.ended };
      watching?.stop.abort();
      watching = null;
      if (video.trashed_until) return trashed();
      if (video.state === "ready" && !withdrawn()) return ready(h("div", { class: "stack" }), seen); // which goes on where the preview was
      return active(video.job) ? working(video.job) : stopped(video.job);
    });
    if (!active(video.job)) {
      if (draft(FRAME).video === id) setDraft(FRAME); // it has pictures of its own now
      return tabProgress(null);
    }
    showJob(progress, video.job, aheadOf(video.job, people));
    return tabProgress(video.job.progress);
  };
  const look = async () => {
    const before = video.state;
    video = await read(path, { signal });
    heading.update(video);
    people = video.job.state === "queued" ? await list("/v1/subjects", { signal }) : [];
    subject = await read(video.links.subject, { signal });
    show();
    if (before === video.state) return;
    announce(words.stateName(words.videoState(video, subject)));
    if (!active(video.job)) notifyDone(`${subject.name}, ${title()}: ${words.stateName(video.state)}`);
  };
  show();
  follow(() => active(video.job), look, signal);
  return title();
}

/** Offers to compare the video with others of the same person, if there are any. */
async function offer(place, { id, subject_id: person }, signal) {
  const { items } = await page(`/v1/videos?state=ready&subject_id=${person}`, { signal, limit: OFFERED }).catch(() => ({ items: [] }));
  const others = items.filter((each) => each.id !== id);
  if (!others.length) return;
  const select = h("select", { "aria-label": t("compare.other") }, others.map((each) => h("option", { value: each.id }, `${words.videoTitle(each)}, ${when(each.created_at)}, ${words.choices(each)}`)));
  const go = h("button", { class: "button", type: "button", onclick: () => (location.hash = `#/compare/${id}/${select.value}`) }, icon("pair"), t("compare"));
  place.append(h("div", { class: "row" }, select, go));
}
