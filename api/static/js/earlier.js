// What was made before the service had keys: it belongs to the owner `local`, for whom an administrator can make a key.

import { read, remembered, setKey, write } from "./api.js";
import { confirm, h } from "./dom.js";
import { act, field } from "./parts.js";
import { t } from "./text.js";

const LOCAL = "local";

/** Offers the caller `me` in `place` to open it, where there is such a thing and no key was made for it yet. */
export async function offerEarlier(me, place) {
  if (!me.scopes.includes("admin") || me.owner === LOCAL) return;
  const { quotas } = await read(`/v1/owners/${LOCAL}`);
  if (!quotas.subjects.used || (await read(`/v1/keys?owner=${LOCAL}&limit=1`)).items.length) return;
  const problem = h("div", {});
  const open = async () => {
    const { token } = await write("POST", "/v1/keys", { owner: LOCAL, name: "page", scopes: me.scopes });
    const shown = field(t("signin.key"), h("input", { type: "text", readonly: true, value: token, onfocus: (event) => event.target.select() }));
    place.replaceChildren(); // a second key is not needed
    if (!(await confirm({ title: t("earlier.keep"), text: t("earlier.keep.text", { owner: me.owner }), action: t("signin"), kind: "primary", extra: shown }))) return;
    setKey(token, remembered());
    location.reload();
  };
  place.replaceChildren(h("section", { class: "panel", "aria-labelledby": "earlier-text" }, h("p", { id: "earlier-text" }, t("earlier", { owner: me.owner })), h("div", { class: "row" }, act(t("earlier.open"), "open", open, problem, "primary")), problem));
}
