// Keeps the page up to date. All of it works without this script as well: forms
// are forms, and "Refresh" is a link.
"use strict";

// What the server said last of each part of the page that changes.
const said = new Map();
const parts = root => root.querySelectorAll("[data-live]");
for (const part of parts(document)) said.set(part.id, part.outerHTML);
for (const item of document.querySelectorAll("[data-list] > [id]")) said.set(item.id, item.outerHTML);

// show takes over what differs in the page that the server sent. Focus, what is
// being typed, and what has been unfolded stay.
function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  document.title = fresh.title;
  for (const part of parts(fresh)) {
    const old = document.getElementById(part.id);
    if (!old || !changed(part)) continue;
    if (part.hasAttribute("data-list")) list(old, part);
    else replace(old, () => old.replaceChildren(...document.adoptNode(part).childNodes));
  }
  modal();
}

// changed reports whether something is not as the server said last, and notes it.
function changed(part) {
  const text = part.outerHTML;
  if (said.get(part.id) === text) return false;
  said.set(part.id, text);
  return true;
}

// list replaces only the items that differ, so that a reader of the screen hears
// what is new and nothing else.
function list(old, part) {
  const kept = new Set();
  let added = false;
  for (const item of [...part.children]) {
    kept.add(item.id);
    const there = document.getElementById(item.id);
    if (!changed(item) && there) continue;
    document.adoptNode(item);
    if (there) replace(there, () => there.replaceWith(item), item);
    else { old.append(item); added = true; }
  }
  for (const item of [...old.children]) if (!kept.has(item.id)) item.remove();
  if (added) follow();
}

// follow scrolls to the latest message.
function follow() {
  const log = document.getElementById("log");
  if (log) log.scrollTop = log.scrollHeight;
}

function replace(old, act, fresh = old) {
  const focus = old.contains(document.activeElement) ? document.activeElement.id : "";
  const typed = [...old.querySelectorAll("input[id]")].map(field => [field.id, field.value]);
  const unfolded = [...old.querySelectorAll("details[open]")].map(d => d.id);
  act();
  for (const [id, value] of typed) {
    const field = document.getElementById(id);
    if (field && fresh.contains(field)) field.value = value;
  }
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  if (focus) document.getElementById(focus)?.focus({preventScroll: true});
}

// modal makes the dialog one that keeps the focus, until it is gone.
function modal() {
  const dialog = document.querySelector("#dialog dialog");
  if (!dialog || dialog.matches(":modal")) return;
  dialog.removeAttribute("open");
  dialog.showModal();
}
document.addEventListener("cancel", event => {
  event.preventDefault();
  document.getElementById("close")?.click();
}, true);

// One request at a time, and the latest state last.
let work = Promise.resolve();
const then = step => { work = work.then(step).catch(() => {}); };
const here = location.pathname + location.search;

async function load(options) {
  const answer = await fetch(here, options);
  if (answer.ok) show(await answer.text());
}

document.addEventListener("submit", event => {
  const form = event.target;
  if (form.hasAttribute("data-leave")) return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form, event.submitter));
  form.querySelector("input[name=text]")?.form.reset();
  form.closest("details")?.removeAttribute("open");
  then(() => load({method: "POST", body}));
});

// Slack tells the app of a press on a link too.
document.addEventListener("click", event => {
  const link = event.target.closest("a[data-n]");
  const ts = link?.closest("form").elements.ts;
  if (!ts?.value) return;
  const body = new URLSearchParams({do: "press", ts: ts.value, n: link.dataset.n});
  then(() => fetch(here, {method: "POST", body}));
});

const changes = new EventSource("changes");
changes.onmessage = () => then(() => load());
changes.onopen = () => { document.getElementById("refresh").hidden = true; };
changes.onerror = () => { document.getElementById("refresh").hidden = false; };

modal();
follow();
