// The page: the view of each address, signing in, and the state of the service.

import { backAgain, isAway, key, onKeyNeeded, read, signOut, takeLocal } from "./api.js";
import { announce, confirm, h } from "./dom.js";
import { offerEarlier } from "./earlier.js";
import { catchDrops, problemBox } from "./parts.js";
import { askKey } from "./sign_in.js";
import { t, translate } from "./text.js";
import { onItsWay } from "./upload_progress.js";
import { compareView } from "./views/compare.js";
import { createView } from "./views/create.js";
import { makeView } from "./views/make.js";
import { peopleView } from "./views/people.js";
import { subjectView } from "./views/subject.js";
import { trashView } from "./views/trash.js";
import { verifyView } from "./views/verify.js";
import { videoView } from "./views/video.js";
import { videosView } from "./views/videos.js";
import { setTitle } from "./waiting.js";

const VIEWS = [
  [/^\/$/, makeView, "make"],
  [/^\/people$/, peopleView, "people"],
  [/^\/new$/, createView, "people"],
  [/^\/subjects\/(\w+)$/, subjectView, "people"],
  [/^\/videos(?:\?person=(\w+))?$/, videosView, "videos"],
  [/^\/videos\/(\w+)$/, videoView, "videos"],
  [/^\/compare\/(\w+)\/(\w+)$/, compareView, "videos"],
  [/^\/trash$/, trashView, "videos"],
  [/^\/verify$/, verifyView, "verify"],
];
/** Seconds between two looks at the service: whoever looks at the page hears within three that it is away. */
const LOOK_S = 2;
/** Seconds for the answer: a service that hangs is missed, too. */
const LOOK_LIMIT_S = 5;
/** Time for the workers to load after a start, ms: before that, nothing is wrong where there is none. */
const STARTING_MS = 60_000;

translate();
const main = document.querySelector("#main");
let leaving = new AbortController();
let visited = false;
let at = location.hash;
if (at === "#main") history.replaceState(null, "", (at = "#/")); // the link to the content was followed before this file was loaded

/** Shows what the address says. A view gets the place to fill, the parts of its address, and the signal of its end. */
async function show() {
  leaving.abort(new DOMException("left", "AbortError"));
  leaving = new AbortController();
  at = location.hash;
  notice = "";
  const { signal } = leaving;
  const path = location.hash.slice(1) || "/";
  const [view, args, name] = match(path);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.at === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  setTitle(name && t(`nav.${name}`));
  const place = h("div", { class: "view" }); // a view that was left fills a place that nobody sees
  main.replaceChildren(place);
  main.setAttribute("aria-busy", "true");
  try {
    const title = await view(place, args, signal);
    if (signal.aborted) return;
    setTitle(title);
    announce(title ?? t("nav.make"));
  } catch (error) {
    if (signal.aborted) return;
    place.replaceChildren(h("h1", { class: "unseen" }, t(name ? `nav.${name}` : "lost")), problemBox(error, { retry: error.code === "network" ? show : null, more: h("a", { class: "button small", href: "#/people" }, t("people.all")) }));
    backAgain.addEventListener("back", show, { once: true, signal });
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

function match(path) {
  for (const [pattern, view, name] of VIEWS) {
    const found = pattern.exec(path);
    if (found) return [view, found.slice(1), name];
  }
  return [lostView, [], null];
}

async function lostView(place) {
  place.append(h("h1", {}, t("lost")), h("p", { class: "lead" }, t("lost.text")), h("a", { class: "button", href: "#/" }, t("lost.home")));
  return t("lost");
}

const banner = document.querySelector("#banner");
const opened = Date.now();
let text = "";
let notice = ""; // of what was done on this view

/** Shows the banner, except where the view says the same already. */
function fitBanner() {
  document.body.classList.toggle("away", isAway());
  const says = isAway() ? t("problem.away") : text || notice;
  if (banner.textContent !== says) banner.textContent = says;
  banner.hidden = !says || main.textContent.includes(says);
}

/** What is to be said of workers that take `kinds` of jobs. Those for trainings load last, and nobody has to know: a training begins later anyway. */
function workersSay(kinds) {
  const starting = Date.now() - opened < STARTING_MS;
  if (!["preprocess", "render"].every((kind) => kinds.includes(kind))) return t(starting ? "service.starting" : "service.paused");
  return starting || kinds.includes("train") ? "" : t("service.paused.train");
}

/** Says where nobody works. */
async function lookAtService() {
  try {
    const ready = await read("/readyz", { limit_s: LOOK_LIMIT_S });
    text = ready.parts.queue.ok ? workersSay(ready.serves) : t("service.queue");
  } catch (error) {
    text = error.message;
  }
  fitBanner();
}
for (const kind of ["away", "back"]) backAgain.addEventListener(kind, fitBanner);
setInterval(() => document.hidden || lookAtService(), LOOK_S * 1000);
document.addEventListener("visibilitychange", () => document.hidden || lookAtService());
lookAtService();

const account = document.querySelector("#account");
const owner = document.querySelector("#owner");
document.querySelector("#key").addEventListener("click", () => {
  signOut();
  location.reload();
});

/** Shows whose space this is, where that is a question. */
async function showAccount() {
  account.hidden = !key();
  const me = key() && (await read("/v1/me").catch(() => null));
  owner.textContent = me?.owner ?? "";
  if (me) offerEarlier(me, document.querySelector("#earlier")).catch(() => {}); // at the next visit, then
}
onKeyNeeded(async (refused) => {
  const given = await askKey(refused);
  setTimeout(showAccount);
  return given;
});

// `adnerf serve` prints the page's address with the local token. It counts as a key, and must not stay in the address. An API key in a link
// is not taken: somebody who sends it would have others work, unnoticed, in a space that is not theirs.
function takeToken() {
  const token = /^#token=([\w-]+)$/.exec(location.hash);
  if (!token) return;
  const before = key();
  takeLocal(token[1]);
  history.replaceState(null, "", "#/");
  if (key() !== before) document.querySelector("#key-title")?.closest("dialog").close(); // the question for a key is answered
  showAccount(); // also where it was not asked yet
}
takeToken();
if (account.hidden) showAccount();

catchDrops((file) => {
  notice = t("drop.lost", { name: file.name });
  announce(notice);
  fitBanner();
});

// As a plain link it would replace the address of the view.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

addEventListener("hashchange", async () => {
  takeToken(); // the address may be opened in a tab that shows the page already
  if (onItsWay() && location.hash !== at) {
    const wanted = location.hash;
    history.replaceState(null, "", at || "#/");
    const sure = await confirm({ title: t("upload.leave"), text: t("upload.leave.text", { name: onItsWay() }), action: t("upload.leave.yes") });
    if (!sure) return;
    history.replaceState(null, "", wanted);
  }
  show();
});
show();
