// Judging files before they travel, by what the browser itself can tell of them. The service judges again, and knows more.

import { read } from "./api.js";
import { bytes, duration } from "./format.js";
import { t } from "./text.js";

/** The lengths that preprocessing and rendering need (adnerf_core/config.py), seconds. */
const FOOTAGE = { least_s: 8, most_s: 600 };
const SPEECH = { least_s: 0.3 };
/** The length of a clip of spoken consent (api/services/consent_clips.py), seconds. */
const CLIP = { least_s: 2, most_s: 60 };
/** What is decoded whole, to hear whether there is sound, bytes: larger files would fill the memory. */
const DECODED = 48 * 2 ** 20;
/** Loudest sample below which nothing can be heard: -50 dB. */
const SILENCE = 0.003;
/** How long a browser may think about a file before the question is left to the service, ms. */
const PATIENCE_MS = 8000;
/** First bytes of what is neither picture in motion nor sound, and what it is called. */
const BEGINNINGS = [
  ["%PDF-", "document"],
  ["\xff\xd8\xff", "image"],
  ["\x89PNG", "image"],
  ["GIF8", "image"],
  ["PK\x03\x04", "archive"],
  ["\x1f\x8b", "archive"],
  ["\xd0\xcf\x11\xe0", "document"],
];

/** Of footage: {problem, hint, seconds, width, height}; `problem` says why it cannot be used, `hint` what should be known. */
export async function judgeFootage(file) {
  const refused = await refusal(file, "video");
  if (refused) return { problem: refused };
  const found = await metadata(file);
  if (!found) return { hint: t("judge.unplayable") };
  if (!found.width) return { problem: t("judge.novideo") };
  if (found.seconds < FOOTAGE.least_s) return { problem: t("judge.short", { length: duration(found.seconds), least: duration(FOOTAGE.least_s) }), ...found };
  const sound = await decoded(file);
  if (sound === undefined && (await lacksSound(file))) return { problem: t("judge.noaudio"), ...found };
  if (sound && loudest(sound) < SILENCE) return { problem: t("judge.silentvideo"), ...found };
  return { hint: found.seconds > FOOTAGE.most_s ? t("judge.long", { most: duration(FOOTAGE.most_s) }) : null, ...found };
}

/** Of a clip of spoken consent: as of footage. */
export async function judgeClip(file) {
  const refused = (await sizeRefusal(file, "consent_clip")) || (await kindRefusal(file, "video"));
  if (refused) return { problem: refused };
  const found = await metadata(file);
  if (!found) return { hint: t("judge.unplayable") };
  if (!found.width) return { problem: t("judge.novideo") };
  if (found.seconds < CLIP.least_s || found.seconds > CLIP.most_s) return { problem: t("clip.lasts", { length: duration(found.seconds) }) };
  const sound = await decoded(file);
  if (sound === undefined && (await lacksSound(file))) return { problem: t("judge.noaudio") };
  if (sound && loudest(sound) < SILENCE) return { problem: t("judge.silentvideo") };
  return found;
}

/** Of speech: {problem, buffer}: the AudioBuffer is null where the browser cannot decode the file, or it is too large. */
export async function judgeSpeech(file) {
  const refused = await refusal(file, "audio");
  if (refused) return { problem: refused };
  const buffer = (await decoded(file)) ?? null;
  if (!buffer) return { buffer, problem: file.type.startsWith("video/") && (await lacksSound(file)) ? t("judge.noaudio") : null };
  if (buffer.duration < SPEECH.least_s) return { problem: t("judge.shortspeech") };
  if (loudest(buffer) < SILENCE) return { problem: t("judge.silent") };
  return { buffer };
}

/** Of a background picture: {problem}. */
export async function judgeImage(file) {
  const refused = await sizeRefusal(file, "image");
  if (refused) return { problem: refused };
  const shown = /^image\/(png|jpeg|webp)$/.test(file.type) && (await createImageBitmap(file).catch(() => null));
  return { problem: shown ? null : t("judge.noimage") };
}

/** Why a file is too small or too large for the service, or "". */
async function sizeRefusal(file, wanted) {
  if (!file.size) return t("judge.empty");
  const { limits } = await read("/v1/me");
  const most = limits[`${wanted}_bytes`];
  return file.size > most ? t("judge.large", { size: bytes(file.size), most: bytes(most) }) : "";
}

const refusal = async (file, wanted) => (await sizeRefusal(file, wanted)) || kindRefusal(file, wanted);

/** Why a file is none of the kind `wanted`, or null. */
async function kindRefusal(file, wanted) {
  const head = String.fromCharCode(...new Uint8Array(await file.slice(0, 512).arrayBuffer()));
  const kind = BEGINNINGS.find(([start]) => head.startsWith(start))?.[1] ?? (/^[\t\n\r\x20-\x7e]+$/.test(head) ? "text" : null);
  if (kind) return t(`judge.not${wanted}`, { kind: t(`judge.kind.${kind}`) });
  return wanted === "video" && file.type.startsWith("audio/") ? t("judge.novideo") : null;
}

/** What a player says of a video, or null where it cannot play it. */
function metadata(file) {
  const player = document.createElement("video");
  const url = URL.createObjectURL(file);
  return new Promise((resolve) => {
    const found = () => resolve({ seconds: player.duration, width: player.videoWidth, height: player.videoHeight });
    player.onloadedmetadata = () => {
      if (Number.isFinite(player.duration)) return found();
      player.ontimeupdate = found; // a browser's own recording does not tell its length: a player learns it at the end
      player.currentTime = Number.MAX_SAFE_INTEGER;
      return null;
    };
    player.onerror = () => resolve(null);
    setTimeout(resolve, PATIENCE_MS, null);
    player.preload = "metadata";
    player.src = url;
  }).finally(() => {
    player.removeAttribute("src");
    URL.revokeObjectURL(url);
  });
}

/** The sound of a file; undefined where the browser finds none that it can decode, null where it was not asked. */
async function decoded(file) {
  if (file.size > DECODED) return null;
  const context = new OfflineAudioContext(1, 1, 16_000); // what is decoded gets this rate: enough to judge, and to draw
  return context.decodeAudioData(await file.arrayBuffer()).catch(() => undefined);
}

/** Whether an MP4 or MOV names its tracks and no sound is among them. Of other files nothing is known. */
async function lacksSound(file) {
  for (let at = 0; at < file.size; ) {
    const view = new DataView(await file.slice(at, at + 16).arrayBuffer());
    if (view.byteLength < 8) return false;
    const name = String.fromCharCode(...new Uint8Array(view.buffer, 4, 4));
    const size = view.getUint32(0) === 1 && view.byteLength === 16 ? Number(view.getBigUint64(8)) : view.getUint32(0);
    if (name === "moov") {
      const text = new TextDecoder("latin1").decode(await file.slice(at, at + size).arrayBuffer());
      return text.includes("vide") && !text.includes("soun");
    }
    if (size < 8) return false;
    at += size;
  }
  return false;
}

function loudest(buffer) {
  let peak = 0;
  for (let k = 0; k < buffer.numberOfChannels; k += 1) {
    for (const sample of buffer.getChannelData(k)) peak = Math.max(peak, Math.abs(sample));
  }
  return peak;
}
