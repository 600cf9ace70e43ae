// Waiting made bearable: how long, in the title and the icon of the tab, and a notification at the end.

import { h, icon } from "./dom.js";
import { duration, percent } from "./format.js";
import { isAway } from "./api.js";
import { active } from "./jobs.js";
import { t } from "./text.js";
import { stage } from "./words.js";

const ASKED = "adnerf-notify-asked";
/** Chrome for Android shows notifications of service workers only, of which this page has none. */
const CAN_NOTIFY = "Notification" in window && !/Android/.test(navigator.userAgent);
const link = document.querySelector('link[rel="icon"]');
const MARK = link.href;
let title = "";
let drawn = null;

/** Sets the title of the view; progress goes before it. */
export function setTitle(text) {
  title = text ? `${text} – adnerf` : "adnerf";
  tabProgress(null);
}

/** Shows a share of work in the tab's title and icon; null: none is going on. */
export function tabProgress(share) {
  document.title = share === null ? title : `(${percent(share)}) ${title}`;
  const step = share === null ? null : Math.floor(share * 20);
  if (step === drawn) return;
  drawn = step;
  link.href = share === null ? MARK : ring(share);
}

function ring(share) {
  const canvas = h("canvas", { width: 32, height: 32 });
  const pen = canvas.getContext("2d");
  pen.lineWidth = 7;
  for (const [color, end] of [["#8b857d", 1], ["#b92546", share]]) {
    pen.strokeStyle = color;
    pen.beginPath();
    pen.arc(16, 16, 12, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * end);
    pen.stroke();
  }
  return canvas.toDataURL();
}

/** Shows a job in a bar. `ahead` is the name of what it waits for, if that is known. */
export function showJob(element, job, ahead = null) {
  const running = job.state === "running";
  const left = !running && ahead ? t("queue.for", { what: ahead }) : stage(job);
  const time = job.eta_s === null ? "" : t(running ? "time.left" : "time.until", { time: duration(job.eta_s) });
  element.update({ share: running ? job.progress : null, left, right: [running && percent(job.progress), time].filter(Boolean).join(" · ") });
}

/**
 * One time and one share for work in several jobs, from the service's estimates, which jump from job to job: the time that is shown counts down
 * with the clock and follows the estimate slowly; the share never goes back. Gives a function (eta_s, seconds spent) => {share, left_s}, or null
 * where nothing is known.
 */
export function countdown() {
  let end = null;
  let share = 0;
  return (eta, spent) => {
    const now = Date.now();
    if (eta === null) return end === null ? null : { share, left_s: Math.max(0, (end - now) / 1000) };
    if (!isAway()) end = end === null ? now + eta * 1000 : end + (now + eta * 1000 - end) * 0.1;
    const left = Math.max(1, (end - now) / 1000);
    share = Math.max(share, Math.min(0.99, spent / (spent + left)));
    return { share, left_s: left };
  };
}

/** A button that asks once for the right to notify; null where that was asked before or cannot be. */
export function notifyButton() {
  if (!CAN_NOTIFY || Notification.permission !== "default" || localStorage.getItem(ASKED)) return null;
  const button = h("button", { class: "button small", type: "button" }, icon("bell"), t("notify"));
  button.addEventListener("click", async () => {
    localStorage.setItem(ASKED, "yes");
    const answer = await Notification.requestPermission();
    button.replaceWith(h("span", { class: "faint small", role: "status" }, t(answer === "granted" ? "notify.on" : "notify.off")));
  });
  return button;
}

/** Says that something is done to whoever looks elsewhere. */
export function notifyDone(text) {
  if (document.hidden && CAN_NOTIFY && Notification.permission === "granted") new Notification("adnerf", { body: text, icon: MARK });
}

/** The seconds that were spent in jobs so far. */
export const spentIn = (jobs) =>
  jobs.reduce((sum, { started_at: begun, finished_at: end }) => sum + (begun ? (end ? Date.parse(end) : Date.now()) - Date.parse(begun) : 0) / 1000, 0);

/** The name of the caller's own job that runs now and so keeps `job` waiting: "training of Ann"; null where that is another owner's. */
export function aheadOf(job, subjects) {
  if (job.state !== "queued") return null;
  const kinds = job.kind === "train" ? ["train"] : ["preprocess", "render"];
  for (const subject of subjects) {
    const other = subject.jobs.find((each) => active(each) && each.state === "running" && each.id !== job.id && kinds.includes(each.kind));
    if (other) return t(`queue.what.${other.kind}`, { name: subject.name });
  }
  return null;
}
