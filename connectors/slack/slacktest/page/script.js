// Keeps the page up to date. The page also works without this script.
"use strict";

// The latest HTML from the server for each part of the page that changes.
const latest = new Map();
const parts = root => root.querySelectorAll("[data-live]");
for (const part of parts(document)) latest.set(part.id, part.outerHTML);
for (const item of document.querySelectorAll("[data-list] > [id]")) latest.set(item.id, item.outerHTML);

// show replaces the parts that differ in a new page from the server. It keeps the focus,
// unfinished texts, and open details.
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

// changed reports whether a part differs from the latest one, and remembers it.
function changed(part) {
  const text = part.outerHTML;
  if (latest.get(part.id) === text) return false;
  latest.set(part.id, text);
  return true;
}

// list replaces only the items that differ, so that a screen reader reads only what is new.
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

// modal makes the open dialog modal, so that it keeps the focus.
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

// Requests run one after the other, so that the latest state is shown last.
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

// Slack also reports a press on a link to the app.
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
