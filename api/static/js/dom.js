// Creating and changing elements. Everything from outside becomes text, never markup.

import { t } from "./text.js";

/** An element: h("p", {class: "note", onclick: ...}, "text", child, [more]). Values that are null or false are left out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in PROPERTIES) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PROPERTIES = { value: 1, checked: 1, disabled: 1, hidden: 1, muted: 1, textContent: 1, indeterminate: 1 };

let count = 0;

/** An id that no other element has, to tie labels and descriptions to what they belong to. */
export function freshId(prefix = "x") {
  count += 1;
  return `${prefix}-${count}`;
}

/** Puts `children` in the place of what is in `parent`; leaves it alone where its text says `key` already. */
export function fill(parent, key, children) {
  const mark = JSON.stringify(key);
  if (parent.dataset.shows === mark) return;
  parent.dataset.shows = mark;
  parent.replaceChildren(...[children()].flat(Infinity).filter(Boolean));
}

const SHAPES = {
  plus: "M12 5v14M5 12h14",
  film: "M4 5h16v14H4zM8 5v14M16 5v14M4 9h4M4 15h4M16 9h4M16 15h4",
  mic: "M12 4a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V7a3 3 0 0 1 3-3zM6 11v1a6 6 0 0 0 12 0v-1M12 18v3",
  shield: "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9 12l2 2 4-4",
  down: "M12 4v11M7 11l5 5 5-5M5 20h14",
  up: "M12 16V5M7 9l5-5 5 5M5 20h14",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  stop: "M7 7h10v10H7z",
  bin: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5",
  again: "M19 12a7 7 0 1 1-2-5l2 2M19 4v5h-5",
  pen: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  person: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 21a8 8 0 0 1 16 0",
  pair: "M4 6h7v12H4zM13 6h7v12h-7z",
  warn: "M12 4l9 16H3zM12 10v4M12 17v.5",
  good: "M5 13l4 4L19 7",
  back: "M15 5l-7 7 7 7",
  key: "M14 10a4 4 0 1 0-3 4l1 1h2v2h2v2h4v-4l-6-5",
  copy: "M8 8h11v12H8zM16 8V4H5v12h3",
  bell: "M6 17V11a6 6 0 0 1 12 0v6l2 2H4zM10 21h4",
  spark: "M12 3l2 6 6 3-6 3-2 6-2-6-6-3 6-3z",
  share: "M12 15V4M8 8l4-4 4 4M6 11H5v9h14v-9h-1",
  camera: "M4 7h11v10H4zM15 11l5-3v8l-5-3z",
  find: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
  open: "M10 5H5v14h14v-5M14 4h6v6M20 4l-9 9",
};

/** A drawn sign, decoration only: the words beside it say what it means. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

/** Says `text` to those who listen instead of looking. */
export function announce(text) {
  const region = document.querySelector("#said");
  if (region.textContent !== text) region.textContent = text;
}

/** Asks before something is done, most of all what cannot be undone. Resolves to the form's values, or null if it was cancelled. */
export function confirm({ title, text, action, extra = null, kind = "danger" }) {
  const dialog = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "dialog-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "dialog-title" }, title),
      h("p", {}, text),
      extra,
      h(
        "div",
        { class: "row end" },
        h("button", { class: "button quiet", type: "button", onclick: () => dialog.close() }, t("cancel")),
        h("button", { class: `button ${kind}`, value: "yes" }, action),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const values = new FormData(dialog.querySelector("form"));
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? values : null);
    });
  });
}
