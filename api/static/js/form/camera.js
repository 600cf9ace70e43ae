// Recording with the camera: an oval to sit in, a text to read, and what is wrong said while it can still be mended.

import { h, icon } from "../dom.js";
import { clock } from "../format.js";
import { sleep } from "../jobs.js";
import { problemBox } from "../parts.js";
import { t } from "../text.js";
import { framing, OVAL } from "./framing.js";
import { levelOf } from "./level.js";

const KINDS = ["video/webm;codecs=vp9,opus", "video/webm;codecs=vp8,opus", "video/mp4"];
/** Of footage: lengths in seconds; enough for 1080p without visible blocks, of which a minute has 60 MB; where its words begin. */
const FOOTAGE = { least_s: 8, best_s: 60, longest_s: 600, bits_per_s: 8_000_000, words: "camera", reading: () => [t("camera.read"), t("camera.own")] };
const COUNTDOWN = 3;
/** Least height of the picture, px: below it a face that fills a third has less than 160 px. */
const LEAST_PX = 480;
/** Loudness below which speech drowns in noise, in the mean of some seconds; and the peak at which it is cut off. */
const QUIET = 0.012;
const CLIPPED = 0.98;
const LOOK_MS = 250;
/** Share of the loudness that is remembered from look to look: pauses between sentences are no silence. */
const REMEMBERED = 0.95;

/**
 * The recorder: an element. `taken(file)` gets the recording, `left()` hears that there will be none. Camera and microphone are let go when
 * `signal` says that the view is left. `kind` says what is recorded, as FOOTAGE does.
 */
export function cameraRecorder(signal, taken, left, kind = FOOTAGE) {
  const { words } = kind;
  const over = new AbortController();
  const ended = AbortSignal.any([signal, over.signal]);
  const picture = h("video", { muted: true, playsinline: true, autoplay: true, "aria-label": t("camera.picture") });
  picture.muted = true;
  const count = h("p", { class: "countdown", role: "status", hidden: true });
  const advice = h("p", { class: "advice-now", role: "status" });
  const level = h("meter", { min: 0, max: 1, value: 0, "aria-label": t("record.level") });
  const time = h("span", { class: "clock" }, clock(0));
  const enough = h("progress", { max: kind.best_s, value: 0, "aria-label": t(`${words}.enough`) });
  const problem = h("div", {});
  const button = h("button", { class: "button record", type: "button", disabled: true }, icon("camera"), t("camera.start"));
  const cancel = h("button", { class: "button quiet", type: "button", onclick: () => leave() }, t("cancel"));
  let stop = null;

  const leave = () => {
    over.abort();
    left();
  };
  const say = (key) => {
    const says = key ? t(key) : t(stop ? "camera.good" : "camera.ready");
    if (advice.textContent !== says) advice.textContent = says;
    advice.classList.toggle("bad", Boolean(key));
  };
  const open = async () => {
    const stream = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 1920 }, height: { ideal: 1080 }, frameRate: { ideal: 30 }, facingMode: "user" },
      audio: { echoCancellation: false },
    });
    const sound = levelOf(stream);
    const close = () => {
      sound.close();
      for (const track of stream.getTracks()) track.stop();
    };
    if (ended.aborted) return close();
    ended.addEventListener("abort", close);
    picture.srcObject = stream;
    button.disabled = false;
    watch(stream, sound);
    return button.addEventListener("click", () => (stop ? stop() : begin(stream)));
  };
  const watch = async (stream, sound) => {
    const { judge } = framing();
    let [mean, loudest] = [QUIET * 2, 0];
    while (!ended.aborted) {
      const { loudness, peak } = sound.now();
      level.value = Math.min(loudness * 4, 1);
      if (stop) mean = REMEMBERED * mean + (1 - REMEMBERED) * loudness;
      loudest = Math.max(REMEMBERED * loudest, peak);
      const seen = await judge(picture);
      const small = picture.videoHeight && Math.min(picture.videoHeight, picture.videoWidth) < LEAST_PX;
      say(seen || (loudest > CLIPPED && "camera.loud") || (mean < QUIET && "camera.quiet") || (small && "camera.small"));
      await sleep(LOOK_MS / 1000, ended).catch(() => {});
    }
  };
  const begin = async (stream) => {
    button.disabled = true;
    problem.replaceChildren();
    count.hidden = false;
    for (let k = COUNTDOWN; k > 0; k -= 1) {
      count.textContent = k;
      await sleep(1, ended).catch(() => {});
      if (ended.aborted) return;
    }
    count.hidden = true;
    button.disabled = false;
    record(stream);
  };
  const record = (stream) => {
    const type = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
    const machine = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: kind.bits_per_s });
    const pieces = [];
    const begun = performance.now();
    const seconds = () => (performance.now() - begun) / 1000;
    const timer = setInterval(() => {
      time.textContent = clock(seconds());
      enough.value = Math.min(seconds(), kind.best_s);
      if (seconds() > kind.longest_s) stop?.();
    }, LOOK_MS);
    machine.ondataavailable = (event) => pieces.push(event.data);
    machine.onstop = () => {
      clearInterval(timer);
      stop = null;
      show();
      if (signal.aborted || over.signal.aborted) return;
      if (seconds() < kind.least_s) return problem.replaceChildren(problemBox(new Error(t(`${words}.short`, { least: kind.least_s }))));
      over.abort();
      const [ending] = type.slice("video/".length).split(";");
      return taken(new File(pieces, `${t(`${words}.file`)}.${ending}`, { type: `video/${ending}` }));
    };
    stop = () => machine.state === "inactive" || machine.stop();
    ended.addEventListener("abort", () => stop?.(), { once: true });
    machine.start(1000);
    show();
  };
  const show = () => {
    button.classList.toggle("on", Boolean(stop));
    button.replaceChildren(icon(stop ? "stop" : "camera"), t(stop ? "record.stop" : "camera.start"));
    if (!stop) enough.value = 0;
  };
  open().catch((error) => {
    say("");
    advice.textContent = "";
    problem.replaceChildren(problemBox(new Error(t(error.name === "NotAllowedError" ? "camera.denied" : "camera.none"))));
  });
  return h(
    "section",
    { class: "camera stack", "aria-label": t(`${words}.title`) },
    h("div", { class: "camera-picture" }, picture, oval(), count),
    advice,
    h("div", { class: "row" }, button, time, level, cancel),
    h("div", { class: "camera-length" }, enough, h("span", { class: "faint small" }, t(`${words}.length`))),
    problem,
    h("div", { class: "camera-text", tabindex: 0, role: "region", "aria-label": t(`${words}.text`) }, h("p", { class: "faint small" }, t(`${words}.text`)), kind.reading().map((text) => h("p", {}, text))),
  );
}

/** The place of the head in the picture. */
function oval() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 1 1");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "ellipse");
  for (const [name, value] of Object.entries({ cx: OVAL.x, cy: OVAL.y, rx: OVAL.rx, ry: OVAL.ry })) shape.setAttribute(name, value);
  svg.append(shape);
  return svg;
}
