// Swagger UI with the service's own OpenAPI document, in the colors of the system, and mended where it cannot be used by everybody.

const dark = matchMedia("(prefers-color-scheme: dark)");
const color = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", color);
color();

/** The path of an operation is a part of the button that unfolds it: a link within a button is none for a keyboard. */
const plain = { wrapComponents: { DeepLink: (_original, { React }) => ({ text }) => React.createElement("span", { className: "nostyle" }, text) } };

/** Gives lists a name, examples that scroll a place for the keyboard, and the title the rank below the page's own. */
function mend() {
  for (const list of place.querySelectorAll("select:not([aria-label])")) list.setAttribute("aria-label", list.closest("label, .content-type-wrapper") ? "Media type" : "Example");
  for (const example of place.querySelectorAll("pre:not([tabindex])")) example.tabIndex = 0;
  for (const [name, value] of [["role", "heading"], ["aria-level", "2"]]) place.querySelector(".info .title")?.setAttribute(name, value);
}

const place = document.querySelector("#swagger-ui");
new MutationObserver(mend).observe(place, { childList: true, subtree: true });
window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  defaultModelsExpandDepth: 0, // the operations show the models that they use
  plugins: [plain],
  syntaxHighlight: false, // its colors are too faint to read
  validatorUrl: null, // or it would send the description to somebody else's
});
