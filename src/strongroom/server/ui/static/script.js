// What htmx has no attribute for. No value is kept anywhere: what is shown is in the page, and goes with it.
"use strict";

const HIDE_MILLISECONDS = 30_000;
const MAX_FILE_BYTES = 65_536;
const find = (selector, root = document) => root.querySelector(selector);
const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];

document.documentElement.classList.add("js");

// Messages

function complain(message, hint) {
  const box = document.createElement("div");
  box.className = "problem";
  box.setAttribute("role", "alert");
  for (const text of [message, hint].filter(Boolean)) {
    const line = document.createElement("p");
    line.textContent = text;
    box.append(line);
  }
  find("#problem").replaceChildren(box);
  box.scrollIntoView({ block: "nearest" });
}

let told;
function tell(text) {
  find("#status").textContent = text;
  clearTimeout(told);
  told = setTimeout(() => { find("#status").textContent = ""; }, 8000);
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.requestConfig.verb !== "get" && !event.target.closest("dialog")) find("#problem").replaceChildren();
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => { // a job that is followed answers again
  if (detail.target.id === "job" && detail.xhr.status === 200) find("#problem").replaceChildren();
});
document.addEventListener("htmx:sendError", () => complain("The server does not answer.", "Nothing that you typed is lost; try again."));
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if (xhr.status < 400 || (xhr.getResponseHeader("content-type") || "").startsWith("text/html")) return;
  event.detail.shouldSwap = false;
  let error = {};
  try { error = JSON.parse(xhr.responseText).error; } catch { /* it is no answer of ours */ }
  complain(error.message || "The server could not do that.", error.hint);
});

// Dialogs: the one of a session that has ended, and the one that asks before something is done

function openDialog(dialog) {
  const before = document.activeElement;
  dialog.addEventListener("close", () => { dialog.remove(); if (before && before.isConnected) before.focus(); });
  dialog.showModal();
}

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id === "dialog") openDialog(find("dialog", event.target));
});

document.addEventListener("htmx:confirm", (event) => {
  if (!event.detail.question) return;
  event.preventDefault();
  const dialog = document.createElement("dialog");
  dialog.className = "card ask";
  const text = document.createElement("p");
  text.id = "question";
  text.textContent = event.detail.question;
  dialog.setAttribute("aria-labelledby", "question");
  const actions = document.createElement("div");
  actions.className = "actions end";
  const button = (label, kind, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = kind;
    made.textContent = label;
    made.addEventListener("click", () => { dialog.close(); act(); });
    actions.append(made);
  };
  button("Yes", "main", () => event.detail.issueRequest(true));
  button("Cancel", "second", () => {});
  dialog.append(text, actions);
  find("#dialog").replaceChildren(dialog);
  openDialog(dialog);
});

// A session that ended while a form was filled in: once signed in again, the page's forms carry the new session's token.
document.addEventListener("signed-in", (event) => {
  document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRF-Token": event.detail.csrf }));
  findAll("input[name=csrf]").forEach((field) => { field.value = event.detail.csrf; });
  find("#dialog dialog").close();
  tell("You are signed in again.");
});

// Values: shown for a while, or copied without being shown

function hide(shown) {
  const holder = shown.closest(".holder");
  const focused = shown.contains(document.activeElement);
  shown.remove();
  if (focused) find("form button", holder).focus();
}

document.addEventListener("htmx:afterSwap", (event) => {
  const shown = event.target.matches(".revealed") && find("[data-hides]", event.target);
  if (!shown) return;
  find("[data-hide]", shown).focus();
  setTimeout(() => { if (shown.isConnected) hide(shown); }, HIDE_MILLISECONDS);
});
window.addEventListener("pagehide", () => findAll("[data-hides], .fresh").forEach((shown) => shown.remove()));

async function copy(button) {
  if (!navigator.clipboard) {
    complain("This browser copies only from pages that come over https.", "Reveal the value instead.");
    return;
  }
  let refusal;
  const fetched = async () => {
    const headers = { "HX-Request": "true", ...JSON.parse(document.body.getAttribute("hx-headers")) };
    const body = new URLSearchParams({ key: find("[name=key]", button.form).value });
    const response = await fetch(button.dataset.copiesValue, { method: "POST", headers, body });
    if (response.ok) return new Blob([await response.text()], { type: "text/plain" });
    refusal = response;
    throw new Error("refused");
  };
  try {
    await navigator.clipboard.write([new ClipboardItem({ "text/plain": fetched() })]);
    tell("Copied. It stays in the clipboard until you copy something else.");
  } catch {
    if (!refusal) {
      complain("The browser does not let this page copy.", "Reveal the value instead.");
    } else if (refusal.headers.get("HX-Retarget")) {
      const target = find(refusal.headers.get("HX-Retarget"));
      target.innerHTML = await refusal.text();
      window.htmx.process(target);
      const dialog = find("dialog", target);
      if (dialog) openDialog(dialog);
    } else {
      complain("The server could not do that.");
    }
  }
}

// Forms of secrets: rows of keys and values, and files as values

let rows = 1000;
function addRow() {
  const made = find("#new-row").content.cloneNode(true);
  rows += 1;
  for (const name of ["id", "for"]) {
    findAll(`[${name}$="-new"]`, made).forEach((each) => each.setAttribute(name, each.getAttribute(name).replace(/-new$/, `-${rows}`)));
  }
  const row = made.firstElementChild;
  find("#rows").append(made);
  find("[name=key]", row).focus();
}

function typeAgain(area) {
  if (!area.dataset.name) return;
  area.name = area.dataset.name;
  delete area.dataset.name;
  area.nextElementSibling.remove();
}

async function readFile(input) {
  const [file] = input.files;
  const field = input.closest(".masked-field");
  const area = find("textarea", field);
  if (!file) return;
  input.value = "";
  if (file.size > MAX_FILE_BYTES) {
    complain(`This file has more than ${MAX_FILE_BYTES} bytes, the most that a secret holds.`);
    return;
  }
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await file.arrayBuffer());
  } catch {
    complain("This file is not UTF-8 text.", "Encode it, for example with: base64 -w0 FILE");
    return;
  }
  typeAgain(area);
  area.value = text;
  if (area.value !== text) { // a text field has its own line ends; those of the file are sent beside it
    const exact = document.createElement("input");
    exact.type = "hidden";
    exact.name = area.name.replace("value", "json");
    exact.value = JSON.stringify(text);
    area.after(exact);
    area.dataset.name = area.name;
    area.removeAttribute("name");
  }
  const key = field.closest(".entry") && find("[name=key]", field.closest(".entry"));
  if (key && !key.value) key.value = file.name.replace(/[^A-Za-z0-9_.-]/g, "_");
  tell(`Read ${file.name}.`);
}

const rowsOfForm = find("#rows");
if (rowsOfForm) {
  const empty = findAll(".entry", rowsOfForm).filter((row) => !find("[name=key]", row).value);
  const kept = rowsOfForm.children.length - empty.length;
  empty.slice(Math.max(0, Number(rowsOfForm.dataset.keeps) - kept)).forEach((row) => row.remove());
}

// Fields of keys that are to stay need not travel.
document.addEventListener("htmx:configRequest", (event) => {
  const data = event.detail.formData;
  for (const name of new Set(data ? data.keys() : [])) {
    if (name.startsWith("value.") && data.get(name) === "") data.delete(name);
  }
});

// A text that the page shows: an API key, the state of the audit trail.
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied. It stays in the clipboard until you copy something else.");
  } catch {
    complain("The browser does not let this page copy.", "Select the text and copy it yourself.");
  }
}

// What is clicked, changed and typed

document.addEventListener("click", (event) => {
  const on = (selector) => event.target.closest(selector);
  if (on("[data-hide]")) hide(on("[data-hides]"));
  else if (on("[data-copies-value]")) copy(on("[data-copies-value]"));
  else if (on("[data-copies-text]")) copyText(find(`#${on("[data-copies-text]").dataset.copiesText}`).textContent);
  else if (on("[data-adds]")) addRow();
  else if (on("[data-removes]")) {
    on(".entry").remove();
    find("[data-adds]").focus();
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  if (event.target.matches("[data-reads]")) readFile(event.target);
});

document.addEventListener("input", (event) => {
  if (event.target.matches("textarea")) typeAgain(event.target);
});

// The link of a new server carries its one-time token in the fragment, which never reaches a server's log.
const setUpToken = location.pathname === "/set-up" && new URLSearchParams(location.hash.slice(1)).get("token");
if (setUpToken) {
  find("#token").value = setUpToken;
  history.replaceState(null, "", location.pathname);
  find("#username").focus();
}
