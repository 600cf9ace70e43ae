// The waveform of a sound, and cutting off its ends.

import { h } from "../dom.js";
import { clock } from "../format.js";
import { field } from "../parts.js";
import { t } from "../text.js";

const WIDTH = 600;
const HEIGHT = 56;
/** The rate of what is cut out: that of most recordings, so that nothing is lost to hear. */
const RATE = 48_000;
/** The least that has to stay, seconds. */
const LEAST_S = 0.5;

/** The waveform of `buffer`, with sliders for beginning and end that change `cut`: {from, to}, seconds. */
export function wave(buffer, cut, changed) {
  const canvas = h("canvas", { class: "wave", width: WIDTH, height: HEIGHT, "aria-hidden": "true" });
  const end = buffer.duration;
  cut.to = Math.min(cut.to ?? end, end);
  const step = end / 200;
  const slider = (name, other) => {
    const input = h("input", { type: "range", min: 0, max: end, step, value: cut[name] });
    input.addEventListener("input", () => {
      const limit = name === "from" ? Math.max(0, cut[other] - LEAST_S) : Math.min(end, cut[other] + LEAST_S);
      const value = name === "from" ? Math.min(input.valueAsNumber, limit) : Math.max(input.valueAsNumber, limit);
      cut[name] = value > end - step ? end : value;
      input.value = value;
      show();
      changed();
    });
    return input;
  };
  const from = slider("from", "to");
  const to = slider("to", "from");
  const levels = peaks(buffer);
  const show = () => {
    draw(canvas, levels, cut.from / end, cut.to / end);
    from.setAttribute("aria-valuetext", clock(cut.from));
    to.setAttribute("aria-valuetext", clock(cut.to));
  };
  requestAnimationFrame(show); // its colours are those of the page that it is in
  return h("div", { class: "trim" }, canvas, h("details", {}, h("summary", {}, t("trim")), h("div", { class: "pair" }, field(t("trim.from"), from), field(t("trim.to"), to))));
}

/** Whether `cut` leaves something of `buffer` away. */
export const isCut = (buffer, cut) => buffer && (cut.from > 0 || cut.to < buffer.duration);

/** The part of a sound file between cut.from and cut.to, as a WAV file. */
export async function cutOut(file, cut) {
  const buffer = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
  const first = Math.round(cut.from * RATE);
  const count = Math.round(cut.to * RATE) - first;
  const data = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, word) => [...word].forEach((letter, k) => data.setUint8(at + k, letter.charCodeAt(0)));
  text(0, "RIFF");
  data.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  data.setUint32(16, 16, true); // bytes of the description that follows: PCM, one channel, 16 bits
  data.setUint16(20, 1, true);
  data.setUint16(22, 1, true);
  data.setUint32(24, RATE, true);
  data.setUint32(28, 2 * RATE, true);
  data.setUint16(32, 2, true);
  data.setUint16(34, 16, true);
  text(36, "data");
  data.setUint32(40, 2 * count, true);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, k) => buffer.getChannelData(k));
  for (let k = 0; k < count; k += 1) {
    const mean = channels.reduce((sum, samples) => sum + (samples[first + k] ?? 0), 0) / channels.length;
    data.setInt16(44 + 2 * k, Math.max(-1, Math.min(1, mean)) * 0x7fff, true);
  }
  return new File([data.buffer], file.name.replace(/\.[^.]*$/, ".wav"), { type: "audio/wav" });
}

function peaks(buffer) {
  const samples = buffer.getChannelData(0);
  const size = Math.max(1, Math.floor(samples.length / (WIDTH / 3)));
  return Array.from({ length: WIDTH / 3 }, (_, k) => samples.subarray(k * size, (k + 1) * size).reduce((peak, each) => Math.max(peak, Math.abs(each)), 0));
}

function draw(canvas, levels, from, to) {
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  pen.clearRect(0, 0, WIDTH, HEIGHT);
  levels.forEach((level, k) => {
    const share = k / levels.length;
    pen.fillStyle = style.getPropertyValue(share >= from && share <= to ? "--accent" : "--line");
    const height = Math.max(2, level * HEIGHT);
    pen.fillRect(k * 3, (HEIGHT - height) / 2, 2, height);
  });
}
