// A clock that tests move forward, and a list of the errors in the page.
"use strict";
const wrong = [];
addEventListener("error", e => wrong.push("thrown: " + e.message));
addEventListener("unhandledrejection", e => wrong.push("rejected: " + e.reason));
addEventListener("securitypolicyviolation", e => wrong.push(`refused by the policy: ${e.violatedDirective} ${e.blockedURI}`));

const clock = {
  real: window.setTimeout.bind(window),
  now: 0,
  timers: new Map(),
  last: 0,

  // settle waits until pending promises and messages have run.
  async settle() {
    for (let i = 0; i < 20; i++) await null;
    await new Promise(done => clock.real(done, 0));
    for (let i = 0; i < 20; i++) await null;
  },

  async pass(ms) {
    const end = clock.now + ms;
    for (;;) {
      await clock.settle();
      const [next] = [...clock.timers].sort(([a, x], [b, y]) => x.at - y.at || a - b);
      if (!next || next[1].at > end) break;
      const [id, timer] = next;
      clock.timers.delete(id);
      clock.now = Math.max(clock.now, timer.at);
      try {
        timer.run();
      } catch (e) {
        wrong.push("thrown in a timer: " + e.message);
      }
    }
    clock.now = end;
  },
};
window.setTimeout = (run, ms = 0) => {
  clock.timers.set(++clock.last, {run, at: clock.now + ms});
  return clock.last;
};
window.clearTimeout = id => { clock.timers.delete(id); };
window.setInterval = () => { throw new Error("setInterval is not allowed: it never ends"); };

const sleep = ms => new Promise(done => window.setTimeout(done, ms));

// until waits in real time until condition is true, for example because of another tab. It
// fails after a minute or more.
async function until(condition) {
  for (let i = 0; i < 6000; i++) {
    if (condition()) return;
    await new Promise(done => clock.real(done, 10));
  }
  throw new Error("timed out waiting for " + condition);
}

// Storage of the stand-ins, shared by all tabs. It also works if the page's storage is blocked.
const shelf = window.localStorage;
function kept(name, otherwise) {
  return JSON.parse(shelf.getItem("stand-in " + name) ?? JSON.stringify(otherwise));
}
function keep(name, value) { shelf.setItem("stand-in " + name, JSON.stringify(value)); }
function change(name, otherwise, edit) {
  const value = kept(name, otherwise);
  const result = edit(value);
  keep(name, value);
  return result;
}

function blockStorage() {
  Object.defineProperty(window, "localStorage", {get() { throw new DOMException("blocked", "SecurityError"); }});
}
