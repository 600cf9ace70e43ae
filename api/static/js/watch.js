// A video while it is rendered: the preview, in whose place the finished file comes.

import { key, mediaUrl } from "./api.js";
import { sleep } from "./jobs.js";

const HLS = "application/vnd.apple.mpegurl";
/** Seconds until a stream that cannot be read is asked for again: the service may be away for a while. */
const AGAIN_S = 2;
/** How often a picture that cannot be decoded is passed over, before the preview stands still: the finished video will replace it. */
const PASSED_OVER = 3;

/** Plays the stream at `path` from its beginning, until `signal` aborts. A browser that cannot play it shows an empty player. */
export async function watch(player, path, signal) {
  const { default: Hls } = await import("../vendor/hls.light.min.mjs");
  if (signal.aborted) return;
  if (Hls.isSupported()) {
    const hls = new Hls({
      enableWorker: false, // the page's policy allows none
      startPosition: 0,
      xhrSetup: (request, url) => {
        if (key() && new URL(url, location.href).origin === location.origin) request.setRequestHeader("Authorization", `Bearer ${key()}`);
      },
    });
    signal.addEventListener("abort", () => hls.destroy());
    let left = PASSED_OVER;
    hls.on(Hls.Events.ERROR, (_event, { fatal, type }) => {
      if (!fatal) return;
      if (type === Hls.ErrorTypes.NETWORK_ERROR) sleep(AGAIN_S, signal).then(() => (hls.levels.length ? hls.startLoad() : hls.loadSource(path)), () => {});
      else if (left-- > 0) hls.recoverMediaError();
    });
    hls.loadSource(path);
    hls.attachMedia(player);
  } else if (player.canPlayType(HLS)) {
    const [playlist, query] = path.split("?");
    const url = await mediaUrl(playlist, signal); // no element can send a key
    if (!url.startsWith("blob:")) player.src = `${url}${url.includes("?") ? "&" : "?"}${query}`;
  }
  await player.play().catch(() => {
    player.muted = true; // without a click before, most browsers play only what is silent
    return player.play().catch(() => {});
  });
}
