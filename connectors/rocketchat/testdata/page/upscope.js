// A stand-in for Upscope, after the vendor's snippet and its script 2.2.119:
// the first command must be "init"; queued commands run once the socket is
// open; a command inside another one restarts the queue; a reset that waits in
// the queue runs first when the socket opens, otherwise it closes the socket and
// opens another; after commands have waited for a second socket, the queue is a
// new array that the script does not watch.
"use strict";
const upscope = {
  refused: [], // commands on which the real script would fail
  listeners: {},
  config: {},
  status: "",
  id: "", // the visitor's id in the page
  live: "", // the id of the connected visitor on the server

  snippet() {
    if (typeof window.Upscope === "function") return;
    const stub = function () { stub.c(arguments); };
    stub.q = [];
    stub.c = command => { stub.q.push(command); };
    upscope.api = window.Upscope = stub;
  },

  // arrives is called when the script has loaded, which may be after init.
  arrives() {
    const u = upscope.api;
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
    const [name, options] = upscope.api.q.shift();
    if (name !== "init") return void upscope.refused.push(`first command ${name}`);
    upscope.api._config = upscope.config = {autoconnect: true, ...options};
    if (upscope.config.autoconnect) upscope.connect();
  },

  async connect() {
    if (upscope.status) return;
    upscope.status = "connecting";
    const u = upscope.api;
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

  // record changes the visitor on the server: undefined keeps a value, null removes it.
  record(changes) {
    upscope.live = upscope.id;
    change("visitors", {}, all => {
      const v = all[upscope.id] ??= {integrationIds: [], identities: []};
      for (const name in changes) if (changes[name] !== undefined) v[name] = changes[name] ?? [];
      v.had = [...new Set([...v.had ?? [], ...v.integrationIds])];
    });
  },

  async emit(changes) {
    await null;
    while (upscope.status !== "ready") await sleep(50);
    if (!upscope.closing) upscope.record(changes);
  },

  update(changes) {
    for (const name in changes) if (changes[name] !== undefined) upscope.config[name] = changes[name];
    if (upscope.status === "connected" || upscope.status === "ready") upscope.emit(changes);
  },

  forget() {
    keep("short id", "");
    upscope.id = upscope.code = "";
    for (const name of ["identities", "uniqueId", "integrationIds"]) delete upscope.config[name];
  },

  // drop closes the socket.
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
    const u = upscope.api;
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

  // detects is called when Upscope finds another chat product on the page.
  detects(id) { upscope.update({integrationIds: [id]}); },

  // An idle page has no socket until its visitor moves.
  idle() { upscope.drop(); },
  moves() { upscope.connect(); },

  visitor() { return kept("visitors", {})[upscope.id] ?? null; },
};

addEventListener("pagehide", () => upscope.drop());
