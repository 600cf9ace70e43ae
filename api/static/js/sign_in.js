// Signing in with an API key.

import { h } from "./dom.js";
import { field } from "./parts.js";
import { t } from "./text.js";

/** Asks for an API key; resolves to {key, remember}, or to null. `refused`: the last one was not accepted. */
export function askKey(refused) {
  const input = h("input", { type: "password", name: "key", autocomplete: "off", required: true });
  const remember = h("input", { type: "checkbox" });
  const dialog = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "key-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "key-title" }, t("signin")),
      h("p", {}, t("signin.why"), " ", h("code", {}, "adnerf keys create")),
      refused && h("p", { class: "problem", role: "alert" }, t("signin.refused")),
      field(t("signin.key"), input),
      h("label", { class: "check" }, remember, t("signin.remember")),
      h("div", { class: "row end" }, h("button", { class: "button primary", value: "yes" }, t("signin"))),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? { key: input.value.trim(), remember: remember.checked } : null);
    });
  });
}
