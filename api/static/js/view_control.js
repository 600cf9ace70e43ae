// Choosing a view: sliders, and the matching image of the view sheet of this subject.

import { picture } from "./api.js";
import { freshId, h, icon } from "./dom.js";

const KINDS = [
  { name: "yaw_deg", label: "Turn", words: (value) => degrees(value, "right", "left") },
  { name: "pitch_deg", label: "Nod", words: (value) => degrees(value, "down", "up") },
  { name: "roll_deg", label: "Tilt", words: (value) => degrees(value, "left", "right") },
  { name: "zoom", label: "Zoom", least: 0.5, most: 2, step: 0.05, usual: 1, words: (value) => `${Math.round(value * 100)} %` },
];

function degrees(value, below, above) {
  return value === 0 ? "straight" : `${Math.abs(value)}° ${value < 0 ? below : above}`;
}

/** The chooser for a subject: an element with `value()`, the `view` of a video's options. */
export function viewControl(subject, signal) {
  const sheet = h("img", { alt: "" });
  const frame = h("div", { class: "pad-view", role: "img" }, h("div", { class: "pad-tile" }, sheet));
  const sliders = KINDS.map((kind) => slider(kind, subject.view_limits, update));
  const value = () => Object.fromEntries(sliders.map((each) => [each.kind.name, each.value()]));

  function update() {
    const view = value();
    frame.setAttribute("aria-label", `${subject.name}, ${sliders.map((each) => `${each.kind.label.toLowerCase()} ${each.words()}`).join(", ")}`);
    frame.style.setProperty("--tilt", `${view.roll_deg}deg`);
    frame.style.setProperty("--zoom", view.zoom);
    if (!subject.views) return;
    const { columns, rows, yaw_deg, pitch_deg } = subject.views;
    sheet.style.setProperty("--columns", columns);
    sheet.style.setProperty("--column", nearest(yaw_deg, view.yaw_deg));
    sheet.style.setProperty("--row", nearest(pitch_deg, view.pitch_deg));
    sheet.style.setProperty("--rows", rows);
  }

  const reset = h(
    "button",
    {
      class: "button small",
      type: "button",
      onclick: () => {
        for (const each of sliders) each.reset();
        update();
      },
    },
    icon("again"),
    "Back to as filmed",
  );
  if (subject.links.views) picture(sheet, subject.links.views, signal).catch(() => frame.remove());
  drag(frame, sliders, update);
  update();
  const element = h("div", { class: "pad" }, (subject.links.views && frame) || null, h("div", { class: "pad-sliders" }, sliders.map((each) => each.element), reset));
  element.value = value;
  return element;
}

/** Turns by dragging the picture, too; the sliders do the same by keyboard. */
function drag(frame, [yaw, pitch], update) {
  frame.addEventListener("pointerdown", (event) => {
    frame.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  frame.addEventListener("pointermove", (event) => {
    if (!frame.hasPointerCapture(event.pointerId)) return;
    const box = frame.getBoundingClientRect();
    yaw.place((event.clientX - box.left) / box.width);
    pitch.place(1 - (event.clientY - box.top) / box.height);
    update();
  });
}

function slider(kind, limits, update) {
  const [least, most] = limits?.[kind.name]?.map((limit) => Math.trunc(limit)) ?? [kind.least ?? -30, kind.most ?? 30];
  const usual = kind.usual ?? 0;
  const id = freshId("slider");
  const input = h("input", { type: "range", id, min: least, max: most, step: kind.step ?? 1, oninput: () => change() });
  input.value = usual;
  const output = h("output", { for: id });
  const words = () => kind.words(input.valueAsNumber);
  const say = () => {
    output.textContent = words();
    input.setAttribute("aria-valuetext", words());
  };
  const change = () => {
    say();
    update();
  };
  say();
  return {
    kind,
    words,
    value: () => input.valueAsNumber,
    place: (share) => {
      input.value = least + Math.min(Math.max(share, 0), 1) * (most - least);
      say();
    },
    reset: () => {
      input.value = usual;
      say();
    },
    element: h("div", { class: "slider" }, h("label", { for: id }, kind.label), output, input),
  };
}

function nearest(angles, wanted) {
  return angles.reduce((best, angle, k) => (Math.abs(angle - wanted) < Math.abs(angles[best] - wanted) ? k : best), 0);
}
