// The texts of the page in the browser's language: one file per language in texts/, all with the same keys.

const LANGUAGES = ["en", "de", "zh"];

/** The first of the browser's languages that the page speaks. */
export const language = navigator.languages.map((each) => each.slice(0, 2).toLowerCase()).find((each) => LANGUAGES.includes(each)) ?? "en";

/** For numbers and dates: the browser's own variety of that language. */
export const locale = navigator.languages.find((each) => each.toLowerCase().startsWith(language)) ?? language;

const { texts } = await import(`./texts/${language}.js`);
const plural = new Intl.PluralRules(locale);

/** The text of `key`, with {names} replaced by `values`. A text in several forms ({one, other}) is chosen by `values.count`. */
export function t(key, values = {}) {
  const found = texts[key];
  if (found === undefined) throw new Error(`There is no text "${key}".`);
  const text = typeof found === "string" ? found : (found[plural.select(values.count)] ?? found.other);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Whether there is a text of `key`. */
export const has = (key) => key in texts;

/** Puts the texts into the elements of index.html that name one in data-t. */
export function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
}
