// Keeps the page up to date. All of it works without this script as well: forms
// are forms, and "Refresh" is a link.
"use strict";

// What the server said last of each part of the page that changes.
const said = new Map();
const parts = root => root.querySelectorAll("[data-live]");
for (const part of parts(document)) said.set(part.id, part.outerHTML);

// show takes over what differs in the page that the server sent. Focus and what
// is being typed stay; what was sent is cleared.
function show(html, sent) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const part of parts(fresh)) {
    const old = document.getElementById(part.id);
    const text = part.outerHTML;
    if (!old || said.get(part.id) === text) continue;
    said.set(part.id, text);
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

// One request at a time, and the latest state last.
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
