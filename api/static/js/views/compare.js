// Two videos side by side, synchronised, with one set of controls and the sound of one of them.

import { mediaUrl, read } from "../api.js";
import { h, icon } from "../dom.js";
import { clock } from "../format.js";
import { choice } from "../parts.js";
import { t } from "../text.js";
import { choices, videoTitle } from "../words.js";

/** Seconds by which the second may be off before it is put right. */
const APART_S = 0.06;

export async function compareView(main, ids, signal) {
  const videos = await Promise.all(ids.map((id) => read(`/v1/videos/${id}`, { signal })));
  const subjects = await Promise.all(videos.map((video) => read(video.links.subject, { signal })));
  if (videos.some((video) => !video.links.file)) throw new Error(t("compare.notready"));
  const urls = await Promise.all(videos.map((video) => mediaUrl(video.links.file, signal)));
  const names = [t("compare.first"), t("compare.second")];
  const players = videos.map((video, k) => {
    const clear = video.options.background.kind === "transparent" ? "clear" : "";
    const player = h("video", { class: clear, src: urls[k], width: video.width, height: video.height, playsinline: true, preload: "auto", "aria-label": `${names[k]}: ${subjects[k].name}` });
    player.style.setProperty("--shape", video.width / video.height);
    return player;
  });
  const [first, second] = players;
  second.muted = true;

  const seek = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, "aria-label": t("compare.place") });
  const time = h("span", { class: "clock" });
  const play = h("button", { class: "button primary", type: "button" });
  const longest = () => Math.max(...players.map((each) => each.duration || 0));
  const leader = () => (first.duration >= (second.duration || 0) ? first : second);
  const show = () => {
    const paused = leader().paused;
    play.replaceChildren(icon(paused ? "play" : "pause"), t(paused ? "play" : "pause"));
    seek.max = longest();
    time.textContent = `${clock(leader().currentTime)} / ${clock(longest())}`;
    seek.setAttribute("aria-valuetext", time.textContent);
  };
  const start = () => Promise.all(players.filter((each) => each.currentTime < each.duration).map((each) => each.play())).catch(() => {});
  play.addEventListener("click", () => {
    if (leader().paused) {
      if (leader().ended) place(0);
      start();
    } else for (const each of players) each.pause();
  });
  const place = (at) => {
    for (const each of players) each.currentTime = Math.min(at, each.duration || 0);
  };
  seek.addEventListener("input", () => place(seek.valueAsNumber));
  for (const each of players) {
    for (const event of ["play", "pause", "loadedmetadata", "ended"]) each.addEventListener(event, show);
  }
  for (const each of players) {
    each.addEventListener("timeupdate", () => {
      if (each !== leader()) return;
      seek.value = each.currentTime;
      show();
      const other = each === first ? second : first;
      if (!other.ended && Math.abs(other.currentTime - each.currentTime) > APART_S && each.currentTime < other.duration) other.currentTime = each.currentTime;
    });
  }
  signal.addEventListener("abort", () => players.forEach((each) => each.pause()));
  show();
  main.append(
    h("a", { class: "up", href: "#/videos" }, icon("back"), t("nav.videos")),
    h("h1", {}, t("compare.title")),
    h(
      "div",
      { class: "side" },
      players.map((player, k) => h("figure", {}, player, h("figcaption", {}, h("a", { href: `#/videos/${ids[k]}` }, `${subjects[k].name}: ${videoTitle(videos[k])}`), h("span", { class: "faint small" }, choices(videos[k]))))),
    ),
    h("div", { class: "transport" }, play, seek, time),
    choice(t("compare.sound"), "sound", names.map((name) => ({ id: name, name })), names[0], (id) => {
      first.muted = id !== names[0];
      second.muted = !first.muted;
    }),
  );
  return t("compare.title");
}
