// A video's title as the heading of its page, which is changed in its place.

import { change } from "./api.js";
import { h, icon } from "./dom.js";
import { attempt } from "./parts.js";
import { t } from "./text.js";
import { videoTitle } from "./words.js";

/** The heading of `video`: {element, update(video)}. `renamed(video)` hears of another title; problems are shown in `place`. */
export function titleHeading(video, place, renamed) {
  const heading = h("h1", {});
  const pen = h("button", { class: "button quiet small", type: "button", "aria-label": t("rename.video"), title: t("rename.video"), onclick: () => edit() }, icon("pen"));
  const input = h("input", { type: "text", maxlength: 200, "aria-label": t("title"), autocomplete: "off" });
  const save = h("button", { class: "button primary small" }, t("save"));
  const form = h("form", { class: "named", novalidate: true }, input, save, h("button", { class: "button small", type: "button", onclick: () => show() }, t("cancel")));
  const element = h("div", { class: "named" }, heading, pen);
  const show = () => {
    heading.className = "";
    element.replaceChildren(heading, pen);
    pen.focus();
  };
  let seen = video; // when the change was begun
  const edit = () => {
    seen = video;
    input.value = video.title ?? "";
    input.placeholder = videoTitle({ ...video, title: null });
    heading.className = "unseen"; // the page keeps its heading
    element.replaceChildren(heading, form);
    input.focus();
    input.select();
  };
  form.addEventListener("keydown", (event) => event.key === "Escape" && show());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(save, place, async () => {
      update(await change(seen, { title: input.value.trim() || null }));
      show();
      renamed(video);
    });
  });
  const update = (newer) => {
    video = newer;
    heading.textContent = videoTitle(video);
  };
  update(video);
  return { element, update };
}
