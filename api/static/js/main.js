// The page: the view of each address, the API key, and the state of the service.

import { key, onKeyNeeded, read, setKey } from "./api.js";
import { announce } from "./dom.js";
import { askKey, problemBox } from "./parts.js";
import { compareView } from "./views/compare.js";
import { galleryView } from "./views/gallery.js";
import { createView } from "./views/create.js";
import { subjectView } from "./views/subject.js";
import { verifyView } from "./views/verify.js";
import { videoView } from "./views/video.js";
import { videosView } from "./views/videos.js";
import { every } from "./job_events.js";

const VIEWS = [
  [/^\/$/, galleryView, "subjects"],
  [/^\/new$/, createView, "subjects"],
  [/^\/subjects\/(\w+)$/, subjectView, "subjects"],
  [/^\/videos$/, videosView, "videos"],
  [/^\/videos\/(\w+)$/, videoView, "videos"],
  [/^\/compare\/(\w+)\/(\w+)$/, compareView, "videos"],
  [/^\/verify$/, verifyView, "verify"],
];

const main = document.querySelector("#main");
let leaving = new AbortController();

/** Shows what the address says. A view gets the place to fill, the parts of its address, and the signal of its end. */
async function show() {
  leaving.abort(new DOMException("left", "AbortError"));
  leaving = new AbortController();
  const { signal } = leaving;
  const path = location.hash.slice(1) || "/";
  const [view, args, at] = match(path);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.at === at) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.replaceChildren();
  main.setAttribute("aria-busy", "true");
  try {
    const title = await view(main, args, signal);
    if (signal.aborted) return;
    document.title = title ? `${title} – adnerf` : "adnerf";
    announce(title ?? "Subjects");
  } catch (error) {
    if (!signal.aborted) main.replaceChildren(problemBox(error, { retry: show }));
  } finally {
    fitBanner();
    if (!signal.aborted) {
      main.removeAttribute("aria-busy");
      if (visited) main.focus({ preventScroll: true });
      visited = true;
      scrollTo(0, 0);
    }
  }
}

let visited = false;

function match(path) {
  for (const [pattern, view, at] of VIEWS) {
    const found = pattern.exec(path);
    if (found) return [view, found.slice(1), at];
  }
  return [galleryView, [], "subjects"];
}

const banner = document.querySelector("#banner");

/** Shows the banner, except where the view says the same already. */
function fitBanner() {
  banner.hidden = !banner.textContent || main.textContent.includes(banner.textContent);
}

/** Says where nobody works, or the service is away. */
async function lookAtService() {
  let text = "";
  try {
    const ready = await read("/readyz");
    if (!ready.parts.queue.ok) text = "The queue is away: what you send is kept, and waits until it is back.";
    if (!ready.parts.workers.ok) text = "No worker is running: what you send is kept, and waits until one is started.";
  } catch (error) {
    text = error.message;
  }
  if (banner.textContent !== text) banner.textContent = text;
  fitBanner();
}

const forget = document.querySelector("#key");
forget.addEventListener("click", () => {
  setKey(null);
  location.reload();
});
onKeyNeeded(async (refused) => {
  const given = await askKey(refused);
  forget.hidden = !given && !key();
  return given;
});
forget.hidden = !key();

// `adnerf serve` prints the page's address with the local token. It counts as a key, and must not stay in the address.
function takeToken() {
  const token = /^#token=([\w-]+)$/.exec(location.hash);
  if (!token) return;
  setKey(token[1]);
  history.replaceState(null, "", "#/");
  forget.hidden = false;
  document.querySelector("#key-title")?.closest("dialog").close(); // the question for a key is answered
}
takeToken();

// As a plain link it would replace the address of the view.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => {
  takeToken(); // the address may be opened in a tab that shows the page already
  show();
});
show();
every(20, lookAtService);
