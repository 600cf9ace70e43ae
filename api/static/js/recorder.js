// Recording speech with the microphone.

import { h, icon } from "./dom.js";
import { clock } from "./strings.js";

const KINDS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const LONGEST_S = 600;
// A recorder stopped in its first moments may not have encoded a single packet: its file has a head and no sound.
const SHORTEST_S = 1;

/** A button that records; `recorded(file)` gets what was said, `failed(error)` why there was nothing to hear. */
export function recorder(recorded, failed) {
  let running = null;
  const level = h("meter", { min: 0, max: 1, value: 0, hidden: true, "aria-label": "Loudness" });
  const time = h("span", { class: "clock", hidden: true });
  const button = h("button", { class: "button record", type: "button" }, icon("mic"), "Record");

  const show = (on) => {
    button.classList.toggle("on", on);
    button.replaceChildren(icon(on ? "stop" : "mic"), on ? "Stop recording" : "Record");
    level.hidden = time.hidden = !on;
  };
  button.addEventListener("click", async () => {
    if (running) {
      running.stop();
      return;
    }
    button.disabled = true;
    try {
      running = await listen((seconds, loudness) => {
        time.textContent = clock(seconds);
        level.value = loudness;
        if (seconds > LONGEST_S) running.stop();
      });
      show(true);
    } catch (error) {
      failed(reason(error));
    } finally {
      button.disabled = false;
    }
    if (!running) return;
    const { file, seconds } = await running.recording;
    running = null;
    show(false);
    if (seconds >= SHORTEST_S) recorded(file);
    else failed(new Error("That was too short to hear. Record at least one second."));
  });
  return h("div", { class: "row recorder" }, button, time, level);
}

function reason(error) {
  const denied = error.name === "NotAllowedError";
  return new Error(
    denied
      ? "The microphone was not allowed. Allow it beside the address of this page, or choose a file instead."
      : "There is no microphone to record with. Connect one, or choose a file instead.",
  );
}

/** Starts recording; `told(seconds, loudness 0..1)` hears of it. Gives {stop(), recording: Promise<{file, seconds}>}. */
async function listen(told) {
  if (!navigator.mediaDevices) throw new Error("not a secure page");
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { noiseSuppression: true } });
  const type = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
  const machine = new MediaRecorder(stream, { mimeType: type });
  const pieces = [];
  machine.ondataavailable = (event) => pieces.push(event.data);
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const begun = performance.now();
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const loudness = Math.sqrt(samples.reduce((sum, each) => sum + each * each, 0) / samples.length);
    told((performance.now() - begun) / 1000, Math.min(loudness * 4, 1));
  }, 100);
  const recording = new Promise((resolve) => {
    machine.onstop = () => {
      const seconds = (performance.now() - begun) / 1000;
      clearInterval(timer);
      context.close();
      for (const track of stream.getTracks()) track.stop();
      const ending = type.slice(6).split(";")[0];
      const file = new File(pieces, `recording.${ending === "mp4" ? "m4a" : ending}`, { type });
      resolve({ file, seconds });
    };
  });
  machine.start();
  return { stop: () => machine.stop(), recording };
}
