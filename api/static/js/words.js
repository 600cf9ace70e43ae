// What the service says in codes and figures, as text for people.

import { duration, number, pixels } from "./format.js";
import { has, t } from "./text.js";

/** What a job is at. */
export function stage(job) {
  if (job.state === "queued") return job.queue_position > 1 ? t("queue.place", { place: job.queue_position }) : t("queue.next");
  if (!job.stage) return t("stage.starting");
  const names = [`stage.${job.kind}.${job.stage}`, `stage.${job.stage}`];
  const name = names.find(has);
  return name ? t(name) : job.stage;
}

/** The state of a subject: consent that was withdrawn says more than what became of its jobs. */
export const subjectState = (subject) => (subject.consent.withdrawn_at ? "withdrawn" : subject.state);

/** Likewise of a video of `subject`. */
export const videoState = (video, subject) => (subject?.consent.withdrawn_at ? "withdrawn" : video.state);

/** What a state is called. */
export const stateName = (state) => t(`state.${state}`);

/** Characters of a script that are its video's name: what a heading of a phone holds. */
const NAME_CHARS = 40;

/** The first words of a script, without its pauses. */
function firstWords(script) {
  const text = script.replace(/\[[^\]]*\]/g, " ").trim().replace(/\s+/g, " ");
  if (text.length <= NAME_CHARS) return text;
  return `${text.slice(0, NAME_CHARS).replace(/\s+\S*$/, "")}…`;
}

/** The name of a video: its title, the first words of its script, or what it is. */
export const videoTitle = (video) => video.title || (video.script && firstWords(video.script)) || t(video.idle_s ? "video.silent" : "video.speaking");

/** A text as the name of a file, without what file systems do not take. */
export const safeName = (text) => text.replace(/[\\/:*?"<>|\p{Cc}]/gu, "_").slice(0, 120);

/** The file name of a download: "Ann - Welcome.mp4". */
export const fileName = (video, subject) => `${safeName([subject?.name, videoTitle(video)].filter(Boolean).join(" - "))}.${video.options.format}`;

// [figure, good, fair, decimals, unit]: the borders of the report (adnerf_core/evaluation/scorecard.py). Of `lmd_px` less is better.
const MEASURES = [
  ["lip_sync", 0.75, 0.5, 2, ""],
  ["lmd_px", 1.2, 2.0, 1, " px"],
  ["psnr", 29, 26, 1, " dB"],
];

/** A subject's quality: {verdict: good|fair|poor, lines: [{title, verdict, value}]}, or null where nothing was measured. */
export function quality(figures) {
  const lines = [];
  for (const [name, good, fair, digits, unit] of MEASURES) {
    const value = figures?.[name];
    if (typeof value !== "number") continue;
    const reaches = (border) => (good < fair ? value <= border : value >= border);
    const verdict = reaches(good) ? "good" : reaches(fair) ? "fair" : "poor";
    lines.push({ title: t(`quality.${name}`), verdict, value: `${number(value, digits)}${unit}` });
  }
  if (!lines.length) return null;
  return { verdict: ["poor", "fair", "good"].find((each) => lines.some((line) => line.verdict === each)), lines };
}

/** What was found in the footage, as [label, value, hint] rows. Hints stand back where the service itself warns of something. */
export function footage(found) {
  const rows = [];
  const add = (label, value, hint = "") => rows.push([t(`footage.${label}`), value, found.warnings.length ? "" : hint]);
  if (found.duration_s) add("length", duration(found.duration_s), found.duration_s < 60 ? t("footage.length.hint") : "");
  if (found.usable_s) {
    const out = Math.round((found.left_out ?? []).reduce((sum, each) => sum + each.seconds, 0));
    add("used", duration(found.usable_s), out ? t("footage.used.hint", { time: duration(out) }) : "");
  }
  if (found.takes?.length > 1) add("takes", `${found.takes.length}`);
  if (found.faces > 1) add("faces", `${found.faces}`, t("footage.faces.hint"));
  if (found.width) add("picture", `${pixels(found.width, found.height)}${found.fps ? `, ${Math.round(found.fps)} fps` : ""}`);
  if (found.face_px) add("face", `${Math.round(found.face_px)} px`, found.face_px < 250 ? t("footage.face.hint") : "");
  if (found.frames && found.frames_with_face !== null) {
    add("seen", t("footage.seen.value", { percent: Math.floor((100 * found.frames_with_face) / found.frames) }));
  }
  if (found.head_yaw_deg) {
    const [least, most] = found.head_yaw_deg.map(Math.round);
    add("turns", t("footage.turns.value", { from: turned(least), to: turned(most) }), most - least < 10 ? t("footage.turns.hint") : "");
  }
  return rows;
}

/** A turn as the viewer sees it; yaw is positive to the person's left, which is the right of the picture. */
const turned = (degrees) => (degrees ? t(degrees > 0 ? "turn.right" : "turn.left", { degrees: Math.abs(degrees) }) : t("turn.none"));

/** A view in words, as the viewer sees it; "" where it is as filmed. */
export function viewWords({ yaw_deg = 0, pitch_deg = 0, roll_deg = 0, zoom = 1, x = 0, y = 0 }) {
  const parts = [];
  const add = (value, below, above, values) => value && parts.push(t(value < 0 ? below : above, values));
  add(yaw_deg, "turn.left", "turn.right", { degrees: Math.abs(yaw_deg) });
  add(pitch_deg, "turn.down", "turn.up", { degrees: Math.abs(pitch_deg) });
  add(roll_deg, "tilt.left", "tilt.right", { degrees: Math.abs(roll_deg) });
  add(zoom - 1, "zoom", "zoom", { percent: Math.round(zoom * 100) });
  add(x, "shift.left", "shift.right", { percent: Math.round(Math.abs(x) * 100) });
  add(y, "shift.up", "shift.down", { percent: Math.round(Math.abs(y) * 100) });
  return parts.join(", ");
}

/** The background of a video in words. */
export const backgroundWords = ({ kind, color }) => (kind === "color" ? color : t(`background.${kind}`));

/** What a video is and was asked to be, as [label, value] rows. */
export function facts({ options, view, frame, idle_s, script, voice, width, height, duration_s }) {
  return [
    ["length", duration_s && duration(duration_s)],
    ["speech", idle_s ? t("facts.silent") : script && t("facts.script", { voice: voice ?? "" })],
    ["frame", frame && t(`frame.${frame}`)],
    ["picture", width && `${pixels(width, height)}, ${options.format === "webm" ? "WebM" : "MP4"}`],
    ["view", viewWords(view ?? options.view) || t("facts.filmed")],
    ["background", backgroundWords(options.background)],
    ["motion", options.pose === "still" && t("pose.still")],
    ["label", options.label === true ? t("label.ai") : options.label],
  ]
    .filter(([, value]) => value)
    .map(([name, value]) => [t(`facts.${name}`), value]);
}

/** The same in short: what differs from a plain video. */
export function choices(video) {
  const parts = [video.duration_s && duration(video.duration_s), video.width && pixels(video.width, video.height)];
  if (video.idle_s) parts.push(t("facts.silent"));
  if (video.script) parts.push(t("facts.scripted"));
  parts.push(viewWords(video.view ?? video.options.view));
  if (video.options.background.kind !== "original") parts.push(backgroundWords(video.options.background));
  return parts.filter(Boolean).join(" · ");
}
