// Numbers, durations and identifiers of the service as text for people.

const STAGES = {
  survey: "Looking through the footage",
  track: "Following the face",
  pose: "Working out how the head moves",
  align: "Bringing sound and lips together",
  parse: "Cutting out head and shoulders",
  torso: "Following the shoulders",
  plate: "Painting what stands behind",
  audio: "Learning how sound moves the lips",
  head: "Learning the head",
  evaluate: "Judging it on footage it never saw",
  views: "Taking pictures from all sides",
  speech: "Reading the script",
  captions: "Listening for captions",
  render: "Rendering the frames",
  store: "Putting it away",
};
const TRAIN_STAGES = { torso: "Learning the shoulders" };

/** What a job is at. */
export function stage(job) {
  if (job.state === "queued") return job.queue_position > 1 ? `Waiting: number ${job.queue_position} in the queue` : "Next in the queue";
  if (!job.stage) return "Starting";
  return (job.kind === "train" && TRAIN_STAGES[job.stage]) || STAGES[job.stage] || job.stage;
}

export const SUBJECT_STATES = {
  pending: "Waiting",
  preprocessing: "Checking footage",
  training: "Learning",
  ready: "Ready",
  failed: "Failed",
  cancelled: "Cancelled",
  withdrawn: "Consent withdrawn",
};

/** The state of a subject: consent that was withdrawn says more than what became of its jobs. */
export const subjectState = (subject) => (subject.consent.withdrawn_at ? "withdrawn" : subject.state);

export const VIDEO_STATES = {
  pending: "Waiting",
  rendering: "Rendering",
  ready: "Ready",
  failed: "Failed",
  cancelled: "Cancelled",
  withdrawn: "Consent withdrawn",
};

/** Likewise of a video of `subject`. */
export const videoState = (video, subject) => (subject.consent.withdrawn_at ? "withdrawn" : video.state);

export const WITHDRAWN = "Consent was withdrawn: nothing of this person is made or shown any more.";

export const PRESETS = [
  { id: "draft", name: "Draft", text: "128 px. A few minutes: to see whether the footage works." },
  { id: "standard", name: "Standard", text: "256 px (512 with a GPU). About 9 minutes on two free cores." },
  { id: "high", name: "High", text: "512 px. Hours without a GPU." },
  { id: "paper", name: "Paper", text: "AD-NeRF as published. A large GPU and most of a day." },
];

/** Seconds in words: "40 s", "3 min", "2 h 5 min". */
export function duration(seconds) {
  if (seconds < 59.5) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

/** Seconds as on a player: "1:05". */
export function clock(seconds) {
  const whole = Math.floor(seconds || 0);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Bytes in words: "12 MB". */
export function bytes(count) {
  const units = ["B", "kB", "MB", "GB"];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < 3) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 9.95 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A time, near ones by the hour. */
export function when(time) {
  const date = new Date(time);
  const today = new Date().toDateString() === date.toDateString();
  const style = today ? { timeStyle: "short" } : { dateStyle: "medium" };
  return `${today ? "today, " : ""}${new Intl.DateTimeFormat(undefined, style).format(date)}`;
}

export const percent = (share) => `${Math.floor(share * 100)} %`;

// [figure, good, fair, what it is, unit, decimals, how to read it]: the borders of the report (adnerf_core/evaluation/scorecard.py). Of `lmd_px`
// less is better.
const MEASURES = [
  ["lip_sync", 0.75, 0.5, "Lips follow the sound", "", 2, "1 is perfect, good from 0.75"],
  ["lmd_px", 1.2, 2.0, "Shape of the lips, off by", " px", 1, "good up to 1.2"],
  ["psnr", 29, 26, "Picture like the footage", " dB", 1, "good from 29"],
];

/** A subject's quality: {word, verdict: good|fair|poor, lines: [{title, value, verdict, hint}]}, or null where nothing was measured. */
export function quality(figures) {
  const lines = [];
  for (const [name, good, fair, title, unit, decimals, hint] of MEASURES) {
    const value = figures?.[name];
    if (typeof value !== "number") continue;
    const reaches = (border) => (good < fair ? value <= border : value >= border);
    const verdict = reaches(good) ? "good" : reaches(fair) ? "fair" : "poor";
    lines.push({ title, value: `${value.toFixed(decimals)}${unit}`, verdict, hint });
  }
  if (!lines.length) return null;
  const verdict = ["poor", "fair", "good"].find((each) => lines.some((line) => line.verdict === each));
  const words = { good: "Looks good", fair: "Usable", poor: "Weak" };
  return { word: words[verdict], verdict, lines };
}

/** What was found in the footage, as [label, value, hint] rows. Hints stand back where the service itself warns of something. */
export function footage(found) {
  const rows = [];
  const add = (label, value, hint = "") => rows.push([label, value, found.warnings.length ? "" : hint]);
  if (found.duration_s) add("Length", duration(found.duration_s), found.duration_s < 60 ? "one to three minutes are best" : "");
  if (found.width) add("Picture", `${found.width} × ${found.height}${found.fps ? `, ${Math.round(found.fps)} a second` : ""}`);
  if (found.face_px) add("Face", `${Math.round(found.face_px)} px high`, found.face_px < 250 ? "250 px or more are best" : "");
  if (found.frames && found.frames_with_face !== null) {
    add("Face seen", `in ${Math.floor((100 * found.frames_with_face) / found.frames)} % of the frames`);
  }
  if (found.usable_s) {
    const out = (found.left_out ?? []).reduce((sum, each) => sum + each.seconds, 0);
    add("Used", duration(found.usable_s), out >= 1 ? `${Math.round(out)} s are left out` : "");
  }
  if (found.takes?.length > 1) add("Takes", `${found.takes.length}`);
  if (found.faces > 1) add("Faces", `${found.faces}, of which one is learned`);
  if (found.head_yaw_deg) {
    const [least, most] = found.head_yaw_deg.map(Math.round);
    add("Head turns", `${side(least)} to ${side(most)}`, most - least < 10 ? "turn a little more to be shown from more sides" : "");
  }
  return rows;
}

const side = (degrees) => (degrees ? `${Math.abs(degrees)}° ${degrees < 0 ? "right" : "left"}` : "straight on");

/** What a video is and was asked to be, as [label, value] rows. */
export function facts({ options, view, frame, idle_s, script, voice, width, height, duration_s }) {
  const { kind, color } = options.background;
  const backgrounds = { original: "as filmed", color, image: "a picture", transparent: "none" };
  const turned = view ?? options.view;
  const turns = [];
  if (turned.yaw_deg) turns.push(`${Math.abs(turned.yaw_deg)}° ${turned.yaw_deg > 0 ? "left" : "right"}`);
  if (turned.pitch_deg) turns.push(`${Math.abs(turned.pitch_deg)}° ${turned.pitch_deg > 0 ? "up" : "down"}`);
  if (turned.roll_deg) turns.push(`tilted ${Math.abs(turned.roll_deg)}° ${turned.roll_deg > 0 ? "right" : "left"}`);
  if (turned.zoom !== 1) turns.push(`zoom ${Math.round(turned.zoom * 100)} %`);
  if (turned.x) turns.push(`${Math.round(Math.abs(turned.x) * 100)} % further ${turned.x > 0 ? "right" : "left"}`);
  if (turned.y) turns.push(`${Math.round(Math.abs(turned.y) * 100)} % further ${turned.y > 0 ? "down" : "up"}`);
  return [
    ["Length", duration_s && duration(duration_s)],
    ["Speech", idle_s ? "none, it loops" : script && `a script, read by ${voice}`],
    ["Frame", { full: "whole", portrait: "portrait" }[frame]],
    ["Picture", width && `${width} × ${height}, ${options.format === "webm" ? "WebM" : "MP4"}`],
    ["View", turns.join(", ") || "as filmed"],
    ["Background", backgrounds[kind]],
    ["Motion", options.pose === "still" ? "quiet" : "lively"],
    ["Label", options.label === true ? "“AI-generated”" : options.label],
  ].filter(([, value]) => value);
}

/** The same in short. */
export function choices(video) {
  return facts(video)
    .filter(([name, value]) => value !== "as filmed" && !["Motion", "Frame"].includes(name))
    .map(([name, value]) => {
      if (name === "Speech") return video.idle_s ? "silent" : "from a script";
      if (name === "View") return /^[\d.]+°/.test(value) ? `turned ${value}` : value; // a zoom or a tilt alone is no turn
      if (name === "Background") return value.startsWith("#") ? `on ${value}` : `background ${value}`;
      return value;
    })
    .join(" · ");
}
