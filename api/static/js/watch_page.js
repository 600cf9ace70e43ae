// The page of a shared video. A link that is revoked or has expired ends also where somebody is watching: the file may have arrived already.

/** Seconds between two looks at the link, while the video plays. */
const LOOK_S = 3;
const player = document.querySelector("video");

/** Shows what the link says now, if it is closed. */
async function look() {
  const answer = await fetch(location.href, { method: "HEAD", cache: "no-store" }).catch(() => null); // a service that is away closes no link
  if (answer?.status === 404) location.reload();
}

setInterval(() => player.paused || look(), LOOK_S * 1000);
player.addEventListener("play", look);
