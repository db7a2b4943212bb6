// Keeps the page up to date. The page also works without this script.
"use strict";

// The latest HTML from the server for each part of the page that changes.
const latest = new Map();
const parts = root => root.querySelectorAll("[data-live]");
for (const part of parts(document)) latest.set(part.id, part.outerHTML);

// show replaces the parts that differ in a new page from the server. It keeps the focus and
// unfinished texts, and clears the texts that were sent.
function show(html, sent) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const part of parts(fresh)) {
    const old = document.getElementById(part.id);
    const text = part.outerHTML;
    if (!old || latest.get(part.id) === text) continue;
    latest.set(part.id, text);
    const focus = old.contains(document.activeElement) ? document.activeElement.id : "";
    const typed = new Map();
    for (const field of old.querySelectorAll("input[id]")) typed.set(field.id, field.value);
    old.className = part.className;
    old.replaceChildren(...document.adoptNode(part).childNodes);
    for (const field of old.querySelectorAll("input[id]")) {
      if (typed.has(field.id) && !(sent && sent.has(field.name))) field.value = typed.get(field.id);
    }
    if (focus) (document.getElementById(focus) ?? old.querySelector("button, a, input:not([type=hidden])"))?.focus({preventScroll: true});
  }
  follow();
}

// follow scrolls conversations to their latest message.
function follow() {
  for (const talk of document.querySelectorAll(".talk")) talk.scrollTop = talk.scrollHeight;
}

async function load(options, sent) {
  const answer = await fetch(location.pathname + location.search, options);
  if (answer.ok) show(await answer.text(), sent);
}

// Requests run one after the other, so that the latest state is shown last.
let work = Promise.resolve();
const then = step => { work = work.then(step).catch(() => {}); };

document.addEventListener("submit", event => {
  event.preventDefault();
  const form = new FormData(event.target, event.submitter);
  then(() => load({method: "POST", body: new URLSearchParams(form)}, form));
});

const changes = new EventSource("changes");
changes.onmessage = () => then(() => load());
changes.onopen = () => { document.getElementById("refresh").hidden = true; };
changes.onerror = () => { document.getElementById("refresh").hidden = false; };
follow();
