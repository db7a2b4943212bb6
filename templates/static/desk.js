/*
 * Keeps the desk up to date. The server renders the inside of #live and sends it
 * as an event named "cards": at once, and whenever it has changed.
 * Nothing here makes markup of its own, and the page does without all of it.
 */
const live = document.getElementById("live");
const pulse = document.getElementById("pulse");
const news = document.getElementById("news");
const refresh = [...pulse.childNodes];
const title = document.title;

const silence = 150_000; /* ms; a line that was quiet for so long may be dead, and is opened anew */
const settle = 1_500; /* ms; how long a pointer on a button holds back a change */

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
    show("live", "Live");
  });
  source.addEventListener("cards", (event) => {
    heard = Date.now();
    offer(event.data);
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) {
      show("trying", "Reconnecting…");
      return;
    }
    /* Refused, as when the sign-in is over: a reload leads on. */
    show("off", ...refresh);
    setTimeout(connect, pause);
    pause = Math.min(2 * pause, 60_000);
  });
}

/* A row that moves under the pointer would lead to another customer's screen. */
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

/* Whether the visitor of each card is there, by the card's id. */
const cards = () => new Map([...live.querySelectorAll("[data-card]")]
  .map((row) => [row.dataset.card, { here: "here" in row.dataset, name: row.dataset.name || "A visitor" }]));

function announce(before) {
  const said = [];
  for (const [id, { here, name }] of cards()) {
    if (here && !before.get(id)?.here) said.push(`${name} is ${before.has(id) ? "back " : ""}online.`);
  }
  if (said.length === 0) return;
  news.textContent = said.join(" ");
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
