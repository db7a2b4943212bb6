/*
 * Keeps the desk up to date. The server renders the content of #live and sends it
 * as an event named "cards": at once, and after each change.
 * This script makes no markup and has no texts of its own; the page works without it.
 */
const live = document.getElementById("live");
const pulse = document.getElementById("pulse");
const news = document.getElementById("news");
const refresh = [...pulse.childNodes];
const title = document.title;

const silence = 150_000; /* ms; after so long without an event the connection may be dead, and is opened again */
const settle = 1_500; /* ms; how long a moving pointer on a button delays a change */

let source, heard, moved, held;
let pause = 2_000;

function show(state, ...content) {
  pulse.dataset.state = state;
  pulse.replaceChildren(...content);
}

function connect() {
  source?.close();
  heard = Date.now();
  source = new EventSource("/desk/events");
  source.addEventListener("open", () => {
    heard = Date.now();
    pause = 2_000;
    show("live", pulse.dataset.live);
  });
  source.addEventListener("cards", (event) => {
    heard = Date.now();
    offer(event.data);
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) {
      show("trying", pulse.dataset.trying);
      return;
    }
    /* Refused, for example because the sign-in ended. A reload leads to the sign-in page. */
    show("off", ...refresh);
    setTimeout(connect, pause);
    pause = Math.min(2 * pause, 60_000);
  });
}

/* If rows moved now, the pointer could press the button of another customer. */
const aiming = () => live.matches(":active") ||
  (performance.now() - moved < settle && live.querySelector("a:hover, button:hover"));

function offer(html) {
  clearTimeout(held);
  if (aiming()) held = setTimeout(offer, 200, html);
  else replace(html);
}

function replace(html) {
  const next = document.createElement("template");
  next.innerHTML = html;
  if (next.innerHTML === live.innerHTML) return;

  const before = cards();
  const focused = document.activeElement;
  const keys = live.contains(focused)
    ? [focused, focused.closest(".row")].map((e) => e?.dataset.key).filter(Boolean)
    : null;
  const [left, top] = [scrollX, scrollY];
  live.replaceChildren(next.content);
  if (keys) {
    const again = keys.map((key) => live.querySelector(`[data-key="${CSS.escape(key)}"]`)).find(Boolean);
    (again ?? live).focus({ preventScroll: true });
  }
  scrollTo(left, top);
  announce(before);
}

/* The data of each card's row by the card's id; "here" is set if its visitor is online. */
const cards = () => new Map([...live.querySelectorAll("[data-card]")].map((row) => [row.dataset.card, { ...row.dataset }]));

function announce(before) {
  const sentences = [];
  for (const [id, { here, arrived, back }] of cards()) {
    if (here && !before.get(id)?.here) sentences.push(before.has(id) ? back : arrived);
  }
  if (sentences.length === 0) return;
  news.textContent = sentences.join(" ");
  if (document.hidden) document.title = `● ${title}`;
}

live.addEventListener("pointermove", () => { moved = performance.now(); }, { passive: true });
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) document.title = title;
});
addEventListener("pagehide", () => source.close());
addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
setInterval(() => { if (Date.now() - heard > silence && source.readyState !== EventSource.CLOSED) connect(); }, 10_000);
connect();
