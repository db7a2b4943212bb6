/*
 * Keeps the desk up to date. The server renders the content of #live and sends it
 * as an event named "cards": at once, and after each change. Rows that the page has
 * already are only named then, with data-same.
 * This script makes no markup and has no texts of its own; the page works without it.
 */
const live = document.getElementById("live");
const pulse = document.getElementById("pulse");
const news = document.getElementById("news");
const refresh = [...pulse.childNodes];
const title = document.title;

const silence = 60_000; /* ms; after so long without an event the connection may be dead, and is opened again */
const ago = new Intl.RelativeTimeFormat(document.documentElement.lang);
const day = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "long" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const settle = 1_500; /* ms; how long a moving pointer on a button delays a change */

let source, heard, moved, held;
let waiting = [];
let pause = 2_000;

function show(state, ...content) {
  pulse.dataset.state = state;
  pulse.replaceChildren(...content);
}

function connect() {
  source?.close();
  heard = Date.now();
  waiting = [];
  source = new EventSource("/desk/events?rows=1");
  source.addEventListener("open", () => {
    heard = Date.now();
    waiting = [];
    pause = 2_000;
    show("live", pulse.dataset.live);
  });
  source.addEventListener("cards", (event) => {
    heard = Date.now();
    waiting.push(event.data);
    apply();
  });
  source.addEventListener("alive", () => { heard = Date.now(); });
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

function apply() {
  clearTimeout(held);
  if (aiming()) held = setTimeout(apply, 200);
  else while (waiting.length > 0) replace(waiting.shift());
}

const find = (key) => live.querySelector(`[data-key="${CSS.escape(key)}"]`);

function replace(html) {
  const next = document.createElement("template");
  next.innerHTML = html;
  tellTimes(next.content);
  if (next.innerHTML === live.innerHTML) return;

  const same = [...next.content.querySelectorAll("[data-same]")].map((mark) => [mark, find(mark.dataset.key)]);
  if (same.some(([, row]) => !row)) { /* the page lacks a row: a new stream begins with all of them */
    connect();
    return;
  }
  const before = cards();
  const focused = document.activeElement;
  const keys = live.contains(focused)
    ? [focused, focused.closest(".row")].map((e) => e?.dataset.key).filter(Boolean)
    : null;
  const [left, top] = [scrollX, scrollY];
  for (const [mark, row] of same) mark.replaceWith(row);
  live.replaceChildren(next.content);
  if (keys) (keys.map(find).find(Boolean) ?? live).focus({ preventScroll: true });
  scrollTo(left, top);
  announce(before);
}

/* Shows how long ago each time was, and the time in the reader's zone on hover. */
function tellTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    const minutes = Math.floor((Date.now() - at) / 60_000);
    const [n, unit] = minutes < 60 ? [minutes, "minute"] : minutes < 1440 ? [minutes / 60, "hour"] : [minutes / 1440, "day"];
    const text = minutes < 1 ? live.dataset.now : minutes < 31 * 1440 ? ago.format(-Math.floor(n), unit) : day.format(at);
    if (time.textContent !== text) time.textContent = text;
    time.title = exact.format(at);
  }
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
setInterval(() => {
  tellTimes(document);
  if (Date.now() - heard > silence && source.readyState !== EventSource.CLOSED) connect();
}, 10_000);
tellTimes(document);
connect();
