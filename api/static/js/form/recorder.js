// Recording speech with the microphone.

import { h, icon } from "../dom.js";
import { clock } from "../format.js";
import { t } from "../text.js";
import { levelOf } from "./level.js";

const KINDS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const LONGEST_S = 600;
// A recorder stopped in its first moments may not have encoded a single packet: its file has a head and no sound.
const SHORTEST_S = 1;

/**
 * A button that records: {element, finish()}. `recorded(file)` gets what was said, `failed(error)` why there was nothing to hear. `finish()` stops
 * and resolves when the recording was handed over; false where nothing is recorded. When `signal` says that the view is left, the microphone
 * stops, and what was said is handed over as well.
 */
export function recorder(signal, recorded, failed) {
  let running = null;
  const level = h("meter", { min: 0, max: 1, value: 0, hidden: true, "aria-label": t("record.level") });
  const time = h("span", { class: "clock", hidden: true });
  const button = h("button", { class: "button record", type: "button" }, icon("mic"), t("record"));

  const show = (on) => {
    button.classList.toggle("on", on);
    button.replaceChildren(icon(on ? "stop" : "mic"), t(on ? "record.stop" : "record"));
    level.hidden = time.hidden = !on;
  };
  const begin = async () => {
    button.disabled = true;
    try {
      const opened = await listen((seconds, loudness) => {
        time.textContent = clock(seconds);
        level.value = loudness;
        if (seconds > LONGEST_S) running?.stop();
      });
      running = { ...opened, done: opened.recording.then(handOver) };
      show(true);
      if (signal.aborted) running.stop();
    } catch (error) {
      failed(new Error(t(error.name === "NotAllowedError" ? "record.denied" : "record.none")));
    } finally {
      button.disabled = false;
    }
  };
  const handOver = ({ file, seconds }) => {
    running = null;
    show(false);
    if (seconds >= SHORTEST_S) return recorded(file);
    failed(new Error(t("record.short")));
    return null;
  };
  button.addEventListener("click", () => (running ? running.stop() : begin()));
  signal.addEventListener("abort", () => running?.stop());
  const finish = async () => {
    if (!running) return false;
    const { done, stop } = running;
    stop();
    await done;
    return true;
  };
  return { element: h("div", { class: "row recorder" }, button, time, level), finish };
}

/** Starts recording; `told(seconds, loudness 0..1)` hears of it. Gives {stop(), recording: Promise<{file, seconds}>}. */
async function listen(told) {
  if (!navigator.mediaDevices) throw new Error("not a secure page");
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { noiseSuppression: true } });
  const type = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
  const machine = new MediaRecorder(stream, { mimeType: type });
  const pieces = [];
  machine.ondataavailable = (event) => pieces.push(event.data);
  const level = levelOf(stream);
  const begun = performance.now();
  const timer = setInterval(() => told((performance.now() - begun) / 1000, Math.min(level.now().loudness * 4, 1)), 100);
  const recording = new Promise((resolve) => {
    machine.onstop = () => {
      const seconds = (performance.now() - begun) / 1000;
      clearInterval(timer);
      level.close();
      for (const track of stream.getTracks()) track.stop();
      const ending = type.slice(6).split(";")[0];
      const file = new File(pieces, `recording.${ending === "mp4" ? "m4a" : ending}`, { type });
      resolve({ file, seconds });
    };
  });
  machine.start();
  return { stop: () => machine.state === "inactive" || machine.stop(), recording };
}
