/*!
 * Co-browse bridge: tells Upscope and Rocket.Chat that they see the same visitor.
 * No cookie, no request, nothing for anybody else.
 */
(function (window, document) {
  "use strict";

  var wishes = window.CobrowseBridge;
  if (wishes && !Array.isArray(wishes)) return; // the script is here twice
  if (!window.crypto || !window.crypto.getRandomValues) return;

  var NAME = "upscope_key"; // in localStorage: the key
  var LEFT = "upscope_left"; // who has yet to part from the former visitor: "u"pscope, Rocket."c"hat
  var settings = { identities: [], field: "upscope_key", code: false, codeField: "upscope_code" };
  var key, code, left;
  var met, waiting; // Upscope has been connected; it is not yet as the new visitor
  var registered, muted; // Rocket.Chat has the visitor of this key; it hears no more
  var Upscope, RocketChat; // as they were last seen

  // stored reads, writes, or removes with "". Blocked storage holds nothing.
  function stored(name, value) {
    try {
      if (value) window.localStorage.setItem(name, value);
      else if (value === "") window.localStorage.removeItem(name);
      else return window.localStorage.getItem(name) || "";
    } catch (blocked) {}
    return "";
  }

  function known() {
    var value = stored(NAME);
    return /^[\w-]{22,64}$/.test(value) ? value : "";
  }

  function draw() {
    key = "";
    window.crypto.getRandomValues(new Uint8Array(16)).forEach(function (n) {
      key += (n + 256).toString(16).slice(1);
    });
    stored(NAME, key);
  }

  // What goes wrong in a widget stays there.
  function upscope() {
    try {
      if (Upscope) window.Upscope.apply(window, arguments);
    } catch (theirs) {}
  }

  function rocketChat(call) {
    try {
      if (RocketChat) window.RocketChat(function () {
        RocketChat = window.RocketChat; // whoever has taken over the queue
        try { call(this); } catch (theirs) {}
      });
    } catch (theirs) {}
  }

  function tellUpscope() {
    if (waiting) return;
    var id = "rocketchat:" + key, whose = key;
    upscope("updateConnection", { integrationIds: [id], identities: [].concat(settings.identities || [], id) });
    if (settings.code) upscope("getLookupCode", function (digits) {
      if (whose !== key || digits === code) return;
      code = digits;
      tellChat();
    });
  }

  // Upscope looks for other chat products during its first ten seconds, and what
  // it finds replaces the integration ids.
  var again;
  function keepTelling() {
    tellUpscope();
    clearTimeout(again);
    again = setTimeout(function () {
      tellUpscope();
      again = setTimeout(tellUpscope, 10000);
    }, 5000);
  }

  function connected() {
    met = true;
    waiting = false;
    part("u");
    keepTelling();
  }

  function part(from) {
    if (left.indexOf(from) < 0) return;
    left = left.replace(from, "");
    stored(LEFT, left);
  }

  function tellChat() {
    rocketChat(function (widget) {
      if (muted) return;
      if (left.indexOf("c") < 0) {
        widget.setCustomField(settings.field, key, true);
        if (code) widget.setCustomField(settings.codeField, code, true);
      } else if (registered !== key) {
        // The key goes along with the registration. On its own it could reach
        // the former visitor, while the new one is on the way.
        registered = key;
        widget.registerGuest({ customFields: [{ key: settings.field, value: key, overwrite: true }] });
        var whose = key;
        setTimeout(function () { if (whose === key) part("c"); }, 15000); // a page left sooner leaves it to the next
      }
    });
  }

  // leave ends the former visitor at Upscope. What is told from then on would be
  // told of them until the next connection, unless the reset waits for one too.
  function leave() {
    code = "";
    upscope("updateConnection", { integrationIds: null, identities: null });
    upscope("reset");
    waiting = Upscope && !(met && queued(Upscope, "reset"));
  }

  function forget() {
    left = "uc";
    stored(LEFT, left);
    draw();
    settings.identities = [];
    leave();
    keepTelling();
    tellChat();
  }

  // follow does what another tab has done. The chat in this one may go on as the
  // former visitor until the page is loaded again, and must not learn the key.
  function follow() {
    var theirs = known();
    if (!theirs || theirs === key) return;
    key = theirs;
    muted = true;
    settings.identities = [];
    leave();
    keepTelling();
  }

  function take(wish) {
    for (var name in settings) if (wish && wish[name] !== undefined) settings[name] = wish[name];
    if (wish && wish.forget) return forget();
    tellUpscope();
    tellChat();
  }

  function queued(it, command) {
    return [].concat(it.q || []).some(function (call) { return call && call[0] === command; });
  }

  // Upscope takes nothing but "init" for its first command, and does not start
  // after any other. If nothing shows whether there was one, waiting has to do.
  var patience = 20;
  function initiated(it) {
    return it._config || !it.q || queued(it, "init") || !it._version && --patience < 0;
  }

  // look finds the widgets, which come as they like: late, after consent, as a
  // queue that the real thing replaces, or never.
  var looks = 60;
  function look() {
    if (typeof window.Upscope === "function" && window.Upscope !== Upscope && initiated(window.Upscope)) {
      Upscope = window.Upscope;
      upscope("on", "connection", connected);
      if (left.indexOf("u") >= 0) leave();
      keepTelling();
    }
    if (typeof window.RocketChat === "function" && window.RocketChat !== RocketChat) {
      RocketChat = window.RocketChat;
      rocketChat(function (widget) { widget.onChatStarted(tellChat); });
      tellChat();
    }
    if (--looks > 0) setTimeout(look, 1000);
  }

  left = stored(LEFT);
  key = known();
  var drawn = !key;
  if (drawn) draw();
  (wishes || []).forEach(take);
  window.CobrowseBridge = { push: take };

  // Two tabs that open at once draw two keys, and the later stays.
  setTimeout(function () {
    key = known() || key;
    look();
    window.addEventListener("storage", follow);
    window.addEventListener("pageshow", follow); // a page that comes back may have slept through it
    document.addEventListener("click", function () {
      if (looks > 0 || Upscope && RocketChat) return;
      looks = 10;
      look();
    }, true);
  }, drawn ? 200 : 0);
})(window, document);
