// Components that several views use: problems, progress bars, drop zones, state chips.

import { isAway } from "./api.js";
import { freshId, h, icon } from "./dom.js";
import { t } from "./text.js";
import { stateName } from "./words.js";

/** What went wrong and what to do about it, said at once. `retry` is what a button does. */
export function problemBox(error, { retry = null, more = null } = {}) {
  return h(
    "div",
    { class: "problem", role: "alert" },
    icon("warn"),
    h(
      "div",
      {},
      h("p", {}, error.message),
      error.errors?.length > 1 && h("ul", {}, error.errors.map((each) => h("li", {}, `${each.pointer ?? each.parameter}: ${each.detail}`))),
      (retry || more) && h("div", { class: "row" }, retry && h("button", { class: "button small", type: "button", onclick: retry }, t("again")), more),
    ),
  );
}

/** Something to know that stops nobody. */
export const noteBox = (text) => h("p", { class: "hint", role: "status" }, icon("warn"), text);

/** Runs what a button does: once at a time; a problem is shown in `place`. */
export async function attempt(button, place, work) {
  place.replaceChildren();
  button.disabled = true;
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") place.replaceChildren(problemBox(error));
    return null;
  } finally {
    button.disabled = false;
    // A button that is disabled loses the focus, and what it did may have taken it away.
    if (document.activeElement === document.body) (button.isConnected ? button : document.querySelector("#main")).focus({ preventScroll: true });
  }
}

/** A button: act("Delete", "bin", work, place of its problems). */
export function act(text, sign, work, place, kind = "") {
  const button = h("button", { class: `button ${kind}`, type: "button" }, sign && icon(sign), text);
  button.addEventListener("click", () => attempt(button, place, work));
  return button;
}

/** Why a job failed, and the remedy. */
export function failure(job) {
  const { message, remedy, code } = job.error;
  const help = h("a", { href: `/errors#job-${code}`, target: "_blank", rel: "noopener" }, t("problem.help"));
  return h("div", { class: "problem", role: "alert" }, icon("warn"), h("div", {}, h("p", { class: "strong" }, message), h("p", {}, remedy), h("p", { class: "small" }, help, code === "internal_error" && ` · ${job.id}`)));
}

/** A state as a coloured word. */
export function chip(state) {
  const kinds = { ready: "good", failed: "bad", cancelled: "off", withdrawn: "off" };
  return h("span", { class: `chip ${kinds[state] ?? "busy"}` }, stateName(state));
}

/** Rows of labels and values, some with a hint. */
export const factList = (rows) =>
  h("dl", { class: "facts" }, rows.map(([label, value, hint]) => h("div", {}, h("dt", {}, label), h("dd", {}, value, hint && h("span", { class: "faint small" }, hint)))));

/** A bar with words: `update({share, left, right})`; share null: unknown. */
export function bar(label) {
  const id = freshId("bar");
  const progress = h("progress", { max: 1, value: 0, "aria-labelledby": id });
  const left = h("span", { id }, label);
  const right = h("span", { class: "faint" });
  const element = h("div", { class: "bar" }, h("div", { class: "bar-words" }, left, right), progress);
  element.update = ({ share, left: said = label, right: beside = "" }) => {
    if (share === null) progress.removeAttribute("value");
    else progress.value = share;
    if (left.textContent !== said) left.textContent = said;
    right.hidden = isAway(); // nobody knows how long it takes until the service is back
    if (right.textContent !== beside) right.textContent = beside;
  };
  return element;
}

let takeDropped = null;

/** Gives files that are dropped anywhere on the page to `take(file)`, as long as the view of `signal` is there. */
export function takeDrops(take, signal) {
  takeDropped = take;
  signal.addEventListener("abort", () => {
    if (takeDropped === take) takeDropped = null;
  });
}

/** Catches what is dropped beside its place: the browser would leave the page for it. `lost()` hears of files that no view takes. */
export function catchDrops(lost) {
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (event.defaultPrevented || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      if (event.type === "drop" && event.dataTransfer.files[0]) (takeDropped ?? lost)(event.dataTransfer.files[0]);
    });
  }
}

/** What a place to drop a file on is called: on a phone nothing can be dropped. `what`: "create", "speech", "background" or "clip". */
export const dropWords = (what) => t(`${what}.${matchMedia("(pointer: coarse)").matches ? "choose" : "drop"}`);

/** A place to drop a file on, or to choose one. `chosen(file)` hears of it. */
export function dropZone({ label, hint, accept, sign, chosen }) {
  const open = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // else it would send the form
    input.click();
  };
  const change = () => {
    const [file] = input.files;
    input.value = ""; // the same file may be chosen again
    if (file) chosen(file);
  };
  const input = h("input", { type: "file", accept, class: "unseen", onchange: change, onkeydown: open });
  const zone = h(
    "label",
    {
      class: "drop",
      ondragover: (event) => {
        event.preventDefault();
        zone.classList.add("over");
      },
      ondragleave: () => zone.classList.remove("over"),
      ondrop: (event) => {
        event.preventDefault();
        zone.classList.remove("over");
        if (event.dataTransfer.files[0]) chosen(event.dataTransfer.files[0]);
      },
    },
    input,
    icon(sign),
    h("span", { class: "strong" }, label),
    hint && h("span", { class: "faint small" }, hint),
  );
  return zone;
}

/** A field with its label and a hint. */
export function field(label, control, hint = null) {
  control.id ||= freshId("field");
  const note = hint && h("span", { class: "faint small", id: `${control.id}-hint` }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

/** A group of choices, one of which holds: [{id, name, text}]. `chosen(id)` hears of changes. */
export function choice(legend, name, options, current, chosen) {
  return h(
    "fieldset",
    { class: "choice" },
    h("legend", {}, legend),
    h(
      "div",
      { class: options.some((option) => option.text) ? "choices wide" : "choices" },
      options.map((option) =>
        h(
          "label",
          { class: "option" },
          h("input", { type: "radio", name, value: option.id, checked: option.id === current, onchange: () => chosen(option.id) }),
          h("span", { class: "strong" }, option.name),
          option.text && h("span", { class: "faint small" }, option.text),
        ),
      ),
    ),
  );
}
