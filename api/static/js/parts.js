// Components that several views use: problems, progress bars, drop zones, state chips.

import { freshId, h, icon } from "./dom.js";
import * as strings from "./strings.js";

/** What went wrong and what to do about it, said at once. `retry` is what a button does. */
export function problemBox(error, { retry = null } = {}) {
  return h(
    "div",
    { class: "problem", role: "alert" },
    icon("warn"),
    h(
      "div",
      {},
      h("p", {}, error.message),
      error.errors?.length > 1 && h("ul", {}, error.errors.map((each) => h("li", {}, `${each.pointer ?? each.parameter}: ${each.detail}`))),
      h(
        "div",
        { class: "row" },
        retry && h("button", { class: "button small", type: "button", onclick: retry }, "Try again"),
        error.code && error.code !== "network" && h("a", { class: "small", href: `/errors#${error.code}` }, "What this means"),
      ),
    ),
  );
}

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

/** Why a job failed, and the remedy. */
export function failure(job) {
  const { message, remedy, code } = job.error;
  return h(
    "div",
    { class: "problem", role: "alert" },
    icon("warn"),
    h("div", {}, h("p", { class: "strong" }, message), h("p", {}, remedy), h("p", { class: "faint small" }, code, " ", h("a", { href: `/errors#${code}` }, "What this means"))),
  );
}

/** A state as a coloured word. */
export function chip(state, names) {
  const kinds = { ready: "good", failed: "bad", cancelled: "off", withdrawn: "off" };
  return h("span", { class: `chip ${kinds[state] ?? "busy"}` }, names[state] ?? state);
}

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
    if (right.textContent !== beside) right.textContent = beside;
  };
  return element;
}

/** Shows a job in a bar. */
export function showJob(element, job) {
  const right = [];
  if (job.state === "running") right.push(strings.percent(job.progress));
  if (job.state === "running" && job.eta_s !== null) right.push(`about ${strings.duration(job.eta_s)} left`);
  element.update({ share: job.state === "running" ? job.progress : null, left: strings.stage(job), right: right.join(" · ") });
}

/** A place to drop a file on, or to choose one. `chosen(file)` hears of it; what is of no such type is left alone. */
export function dropZone({ label, hint, accept, sign, chosen }) {
  const open = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // else it would send the form
    input.click();
  };
  const change = () => input.files[0] && chosen(input.files[0]);
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
    h("span", { class: "faint small" }, hint),
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

/** Asks for an API key; resolves to it, or to null. `refused`: the last one was not taken. */
export function askKey(refused) {
  const input = h("input", { type: "password", name: "key", autocomplete: "off", required: true });
  const dialog = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "key-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "key-title" }, "An API key, please"),
      h("p", {}, "This service answers only those who have a key. Whoever runs it makes one with ", h("code", {}, "adnerf keys create"), "."),
      refused && h("p", { class: "problem", role: "alert" }, "The key was not taken. Check that it is whole and was not revoked."),
      field("Key", input, "Kept until this tab is closed."),
      h("div", { class: "row end" }, h("button", { class: "button primary", value: "yes" }, "Use it")),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? input.value.trim() : null);
    });
  });
}
