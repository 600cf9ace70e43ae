// Putting people and videos into the trash, and taking them out again.

import { write } from "./api.js";
import { h, icon } from "./dom.js";
import { active } from "./jobs.js";
import { t } from "./text.js";
import { undoToast } from "./toast.js";

/**
 * Moves things (subjects or videos) to the trash and offers to undo it, also for those before one that fails. `text(count)` says what was done;
 * `restored()` is called once it was undone.
 */
export async function toTrash(things, text, restored = () => {}) {
  const gone = [];
  const undo = async () => {
    while (gone.length) {
      await restore(gone.at(-1));
      gone.pop();
    }
    restored();
  };
  try {
    for (const each of things) {
      await write("POST", `${each.links.self}/trash`);
      gone.push(each);
    }
  } finally {
    if (gone.length) undoToast(text(gone.length), undo);
  }
}

/** Takes a thing out of the trash, and continues the work that had to stop for it. */
export async function restore(thing) {
  await write("POST", `${thing.links.self}/restore`);
  for (const job of (thing.jobs ?? [thing.job]).filter(active)) await write("POST", job.links.retry).catch(() => {}); // as it was before
}

/** What is said beside a thing in the trash. */
export const untilWords = (thing, when) => t("trash.until", { when: when(thing.trashed_until) });

/** The way to the trash, at the head of a list. */
export const trashLink = () => h("a", { class: "button quiet", href: "#/trash" }, icon("bin"), t("trash"));
