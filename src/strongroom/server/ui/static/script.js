// What htmx has no attribute for. No value is kept anywhere: what is shown is in the page, and goes with it.
"use strict";

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
});

// A session that ended while a form was filled in: once signed in again, the page's forms carry the new session's token.
document.addEventListener("signed-in", async () => {
  document.querySelector("#dialog").replaceChildren();
  const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  const fresh = page.body.getAttribute("hx-headers");
  if (fresh) {
    document.body.setAttribute("hx-headers", fresh);
    const token = JSON.parse(fresh)["X-CSRF-Token"];
    document.querySelectorAll("input[name=csrf]").forEach((field) => { field.value = token; });
  }
});
