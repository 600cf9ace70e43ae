// A name as the heading of a page, which is changed in its place: a person's name, or a video's title.

import { change } from "./api.js";
import { h, icon } from "./dom.js";
import { attempt } from "./parts.js";
import { t } from "./text.js";

/**
 * The heading of `thing`: {element, update(thing)}. `field` is what is changed, `label` what it is called, `pen` what the button says, and
 * `shown(thing)` the text; an empty text takes the name away where `optional`. `renamed(thing)` hears of another name; problems are shown in `place`.
 */
export function nameHeading(thing, { field, label, pen: action, shown, optional = false }, place, renamed) {
  const heading = h("h1", {});
  const pen = h("button", { class: "button quiet small", type: "button", "aria-label": action, title: action, onclick: () => edit() }, icon("pen"));
  const input = h("input", { type: "text", maxlength: 200, "aria-label": label, autocomplete: "off", required: !optional });
  const save = h("button", { class: "button primary small" }, t("save"));
  const form = h("form", { class: "named", novalidate: optional }, input, save, h("button", { class: "button small", type: "button", onclick: () => show() }, t("cancel")));
  const element = h("div", { class: "named" }, heading, pen);
  const show = () => {
    heading.className = "";
    element.replaceChildren(heading, pen);
    pen.focus();
  };
  let seen = thing; // when the change was begun
  const edit = () => {
    seen = thing;
    input.value = thing[field] ?? "";
    input.placeholder = shown({ ...thing, [field]: null }) ?? "";
    heading.className = "unseen"; // the page keeps its heading
    element.replaceChildren(heading, form);
    input.focus();
    input.select();
  };
  form.addEventListener("keydown", (event) => event.key === "Escape" && show());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(save, place, async () => {
      update(await change(seen, { [field]: input.value.trim() || null }));
      show();
      renamed(thing);
    });
  });
  const update = (newer) => {
    thing = newer;
    heading.textContent = shown(thing);
    pen.hidden = Boolean(thing.trashed_until);
  };
  update(thing);
  return { element, update };
}
