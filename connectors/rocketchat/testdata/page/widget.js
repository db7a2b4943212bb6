// A stand-in for Rocket.Chat's livechat widget, after its snippet and
// packages/livechat/src of 6.12 to 8: calls wait until the frame is ready; custom
// fields wait for a registered guest; a new guest's token is stored at once, but
// fields are sent with the former token until the server has answered.
"use strict";
const widget = {
  ready: false,
  broken: false,
  calls: [],
  callbacks: {},
  fields: null, // custom fields that wait for a guest; null if there is a guest
  sent: [], // requests that set custom fields, as [token, field, value]

  snippet() {
    window.RocketChat = call => { window.RocketChat._.push(call); };
    window.RocketChat._ = [];
  },

  arrives() {
    if (!window.RocketChat) window.RocketChat = {_: []};
    const queue = window.RocketChat._;
    const hook = name => (...args) => {
      if (widget.broken) throw new Error("broken");
      widget.hook(name, args);
    };
    const api = window.RocketChat = queue.push = call => { call.call(api.livechat); };
    api.livechat = {
      setCustomField: hook("setCustomField"),
      registerGuest: hook("registerGuest"),
      onChatStarted(f) { (widget.callbacks.started ??= []).push(f); },
    };
    for (const call of queue) call.call(api.livechat);
    widget.load();
  },

  async load() {
    await sleep(800);
    widget.store = kept("widget", {token: widget.token(), user: false});
    widget.credentials = widget.store.token;
    widget.fields = widget.store.user ? null : {};
    widget.ready = true;
    for (const [name, args] of widget.calls) widget.frame[name](...args);
  },

  token() { return [...crypto.getRandomValues(new Uint8Array(32))].map(n => n.toString(16).padStart(2, "0")).join(""); },

  // hook sends a message to the frame, which gets a copy of the arguments.
  hook(name, args) {
    args = JSON.parse(JSON.stringify(args));
    if (widget.ready) window.setTimeout(() => widget.frame[name](...args), 1);
    else widget.calls.push([name, args]);
  },

  frame: {
    setCustomField(field, value) {
      if (widget.fields) widget.fields[field] = value;
      else widget.send(field, value);
    },
    async registerGuest(guest) { await widget.grant({token: widget.token(), ...guest}); },
  },

  async send(field, value) {
    const token = widget.credentials;
    widget.sent.push([token, field, value]);
    await sleep(200);
    change("guests", {}, all => { (all[token] ??= {})[field] = value; });
  },

  async grant({token, customFields = []}) {
    widget.store.token = token;
    keep("widget", widget.store);
    await sleep(400);
    change("guests", {}, all => {
      const guest = all[token] ??= {};
      for (const {key, value} of customFields) guest[key] = value;
    });
    widget.credentials = token;
    widget.store.user = true;
    keep("widget", widget.store);
    const waiting = widget.fields ?? {};
    widget.fields = null;
    for (const field in waiting) widget.send(field, waiting[field]);
  },

  // chat is called when the customer begins a chat.
  async chat() {
    if (!widget.store.user) await widget.grant({token: widget.store.token});
    for (const f of widget.callbacks.started ?? []) window.setTimeout(f, 0);
  },

  // ends is called when a chat ends, if the workspace makes the widget forget its guest.
  ends() {
    widget.store = {token: widget.token(), user: false};
    widget.credentials = widget.store.token;
    keep("widget", widget.store);
  },

  guest() { return kept("guests", {})[kept("widget", {}).token] ?? null; },
};
