// Upscope as a page sees it, after the vendor's snippet and its script 2.2.119:
// the first command is "init" or nothing works; what is queued is done once the
// socket is there; a command from inside another starts the queue over; a reset
// that waits in the queue comes first when the socket is opened, otherwise it
// closes the socket and opens another; after commands have waited for a second
// socket the queue is a new array, which nobody watches.
"use strict";
const upscope = {
  refused: [], // commands that a real one would have choked on
  listeners: {},
  config: {},
  status: "",
  id: "", // as the page knows it
  live: "", // as the server knows who is connected

  snippet() {
    if (typeof window.Upscope === "function") return;
    const stub = function () { stub.c(arguments); };
    stub.q = [];
    stub.c = command => { stub.q.push(command); };
    window.Upscope = stub;
  },

  // arrives is when the script has been loaded. Nothing keeps it from being
  // later than init.
  arrives() {
    const u = window.Upscope;
    u._version = "2.2.119";
    const push = u.q.push;
    if (u.q.length > 0) return void upscope.begin();
    u.q.push = (...all) => {
      u.q.push = push;
      push.apply(u.q, all);
      upscope.begin();
      return u.q.length;
    };
  },

  begin() {
    const [name, options] = window.Upscope.q.shift();
    if (name !== "init") return void upscope.refused.push(`first command ${name}`);
    window.Upscope._config = upscope.config = {autoconnect: true, ...options};
    if (upscope.config.autoconnect) upscope.connect();
  },

  async connect() {
    if (upscope.status) return;
    upscope.status = "connecting";
    const u = window.Upscope;
    if (u.q.some(c => c[0] === "reset")) {
      u.q = u.q.filter(c => c[0] !== "reset");
      upscope.forget();
    } else upscope.id = kept("short id", "");
    if (u.q.some(c => c[0] === "updateConnection")) {
      const updates = u.q.filter(c => c[0] === "updateConnection");
      u.q = u.q.filter(c => c[0] !== "updateConnection");
      for (const c of updates) upscope.update(c[1]);
    }
    await sleep(300);
    upscope.status = "connected";
    upscope.id ||= change("visitors", {}, all => "V" + (Object.keys(all).length + 1));
    const {integrationIds, identities} = upscope.config;
    upscope.record({online: true, integrationIds, identities});
    await sleep(100);
    keep("short id", upscope.id);
    upscope.status = "ready";
    upscope.work();
    if (!upscope.hooked) {
      upscope.hooked = true;
      const push = u.q.push;
      u.q.push = (...all) => {
        push.apply(u.q, all);
        if (upscope.status === "ready") upscope.work();
        return u.q.length;
      };
    }
    upscope.fire("connection");
  },

  // record is what the server keeps: undefined leaves, null removes.
  record(told) {
    upscope.live = upscope.id;
    change("visitors", {}, all => {
      const v = all[upscope.id] ??= {integrationIds: [], identities: []};
      for (const name in told) if (told[name] !== undefined) v[name] = told[name] ?? [];
      v.had = [...new Set([...v.had ?? [], ...v.integrationIds])];
    });
  },

  async emit(told) {
    await null;
    while (upscope.status !== "ready") await sleep(50);
    if (!upscope.closing) upscope.record(told);
  },

  update(told) {
    for (const name in told) if (told[name] !== undefined) upscope.config[name] = told[name];
    if (upscope.status === "connected" || upscope.status === "ready") upscope.emit(told);
  },

  forget() {
    keep("short id", "");
    upscope.id = upscope.code = "";
    for (const name of ["identities", "uniqueId", "integrationIds"]) delete upscope.config[name];
  },

  // drop is the end of the socket.
  drop() {
    upscope.status = "";
    if (upscope.live) change("visitors", {}, all => { all[upscope.live].online = false; });
    upscope.live = "";
  },

  async reset() {
    upscope.fire("connectionReset");
    await upscope.emit({});
    await null;
    upscope.forget();
    upscope.closing = true;
    await sleep(20);
    upscope.closing = false;
    upscope.drop();
    await sleep(1000);
    upscope.connect();
  },

  fire(event) {
    for (const listener of upscope.listeners[event] ?? []) window.setTimeout(listener, 0);
  },

  depth: 0,
  work() {
    const u = window.Upscope;
    if (++upscope.depth > 5) upscope.refused.push("a command inside a callback");
    else for (const [name, ...args] of u.q) {
      try {
        switch (name) {
        case "updateConnection": upscope.update(args[0]); break;
        case "reset": upscope.reset(); break;
        case "on": for (const event of args.slice(0, -1)) (upscope.listeners[event] ??= []).push(args.at(-1)); break;
        case "getLookupCode":
          upscope.code ||= String(1000 + ++upscope.drawn);
          upscope.hand(upscope.code, args[0]);
          break;
        default: upscope.refused.push(name);
        }
      } catch (e) {
        upscope.refused.push(`${name}: ${e.message}`);
      }
    }
    upscope.depth--;
    u.q.length = 0;
  },
  drawn: 0,
  code: "",
  async hand(code, to) {
    await sleep(30);
    to(code);
  },

  // detects is what its look for other chat products comes to.
  detects(id) { upscope.update({integrationIds: [id]}); },

  // An idle page has no socket until its visitor moves.
  idle() { upscope.drop(); },
  moves() { upscope.connect(); },

  visitor() { return kept("visitors", {})[upscope.id] ?? null; },
};

addEventListener("pagehide", () => upscope.drop());
