// A slider with its value in words and a mark at what is usual.

import { freshId, h } from "../dom.js";

/** {element, value(), words(), place(share), reset()}; `set(value)` hears of changes. */
export function slider({ label, least, most, step, usual, value, words, set }) {
  const id = freshId("slider");
  const input = h("input", { type: "range", id, min: least, max: most, step });
  const output = h("output", { for: id });
  input.value = Math.min(Math.max(value, least), most);
  const element = h("div", { class: "slider" }, h("label", { for: id }, label), output, input);
  const say = () => {
    output.textContent = words(input.valueAsNumber);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  const change = () => {
    say();
    set(input.valueAsNumber);
  };
  input.addEventListener("input", change);
  element.style.setProperty("--usual", (usual - least) / (most - least));
  say();
  return {
    element,
    value: () => input.valueAsNumber,
    words: () => output.textContent,
    place: (share) => {
      input.value = least + Math.min(Math.max(share, 0), 1) * (most - least);
      change();
    },
    reset: () => {
      input.value = usual;
      change();
    },
  };
}
