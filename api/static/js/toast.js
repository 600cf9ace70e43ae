// A note at the head of the page that something was done, with the way back. It stays when the view changes.

import { h } from "./dom.js";
import { t } from "./text.js";

/** How long it stays, ms: long enough to read it, to find the button by keyboard and to press it. */
const STAYS_MS = 15_000;

let shown = null;

/** Says `text`; "Undo" does `undo()`, and what goes wrong with it is said in the same place. */
export function undoToast(text, undo) {
  shown?.remove();
  const words = h("span", {}, text);
  const close = () => toast.remove();
  const button = h("button", { class: "button small", type: "button" }, t("undo"));
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await undo();
      close();
    } catch (error) {
      words.textContent = error.message;
      button.disabled = false;
    }
  });
  const away = h("button", { class: "button quiet small", type: "button", "aria-label": t("close"), onclick: close }, "×");
  const toast = h("div", { class: "toast", role: "status" }, words, button, away);
  shown = toast;
  document.body.append(toast);
  let timer = null;
  const leave = () => (timer = setTimeout(close, STAYS_MS));
  const stay = () => clearTimeout(timer);
  for (const kind of ["pointerenter", "focusin"]) toast.addEventListener(kind, stay);
  for (const kind of ["pointerleave", "focusout"]) toast.addEventListener(kind, leave);
  leave();
}
