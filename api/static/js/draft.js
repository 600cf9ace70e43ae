// What was entered and not sent yet. It survives every change of view, until the tab is closed.

const drafts = new Map();

/** The draft that holds the previewed frame of the video that was asked for last, {video, picture}: one picture, however many are made. */
export const FRAME = "frame";

/** The draft called `name`: an object that the caller changes; at first what `initial()` makes. */
export function draft(name, initial = () => ({})) {
  if (!drafts.has(name)) drafts.set(name, initial());
  return drafts.get(name);
}

/** Sets or, without a value, forgets a draft. */
export function setDraft(name, value = null) {
  if (value) drafts.set(name, value);
  else drafts.delete(name);
}
