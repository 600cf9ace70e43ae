// What stands behind the person.

import { freshId, h } from "../dom.js";
import { judgeImage } from "../judge.js";
import { choice, dropWords, dropZone, field, problemBox } from "../parts.js";
import { t } from "../text.js";
import { backgroundWords } from "../words.js";

const KINDS = ["original", "color", "image", "transparent"];

/** The field of a form; it sets settings.background: {kind, color, file}. */
export function backgroundField(_subject, settings, changed) {
  const behind = settings.background;
  const place = h("div", { id: freshId("behind") });
  const problem = h("div", {});
  const color = h("input", { type: "color", value: behind.color, oninput: () => ((behind.color = color.value), changed()) });
  const take = async (file) => {
    const { problem: refused } = await judgeImage(file);
    problem.replaceChildren(...(refused ? [problemBox(new Error(refused))] : []));
    if (refused) return;
    behind.file = file;
    show();
    changed();
  };
  const more = {
    color: () => [field(t("background.color"), color)],
    image: () => [
      dropZone({ label: behind.file?.name ?? dropWords("background"), hint: "PNG, JPEG, WebP", accept: "image/png,image/jpeg,image/webp", sign: "up", chosen: take }),
      problem,
    ],
  };
  const show = () => place.replaceChildren(...(more[behind.kind]?.() ?? []));
  const set = (id) => {
    behind.kind = id;
    show();
    changed();
  };
  const options = KINDS.map((id) => ({ id, name: t(`background.${id}`), text: id === "transparent" ? "WebM" : null }));
  show();
  return {
    element: h("div", { class: "stack" }, choice(t("facts.background"), "background", options, behind.kind, set), place),
    words: () => backgroundWords(behind),
    missing: () => (behind.kind === "image" && !behind.file ? t("background.missing") : ""),
  };
}
