/*!
 * Co-browse bridge: tells Upscope and Rocket.Chat that they see the same visitor.
 * It sets no cookie and makes no request.
 */
(function (window) {
  "use strict";

  // quietly returns what f returns, or undefined if f throws: functions and getters of the
  // page and of the widgets may throw, and the page must not notice.
  function quietly(f) {
    try { return f(); } catch (error) {}
  }

  function read(object, name) {
    return quietly(function () { return object[name]; });
  }

  var commands = read(window, "CobrowseBridge"); // the page's array, nothing, or an element with that id
  if (read(read(commands, "push"), "cobrowse")) return; // the page has the script twice

  var NAME = "upscope_key"; // in localStorage: the key
  var LEFT = "upscope_left"; // in localStorage: which still have the former visitor, "u"pscope or Rocket."c"hat
  var settings = { identities: [], field: "upscope_key", code: false, codeField: "upscope_code" };
  var key, code, left; // left is the value of LEFT
  var connectedOnce, waiting; // Upscope has been connected; Upscope has yet to connect as the new visitor
  var registered, muted; // the key that the last guest was registered with; this tab tells Rocket.Chat nothing more
  var Upscope, RocketChat; // the functions that look has found

  // stored reads an item, or writes it, or removes it if value is "". If storage is
  // blocked it returns "".
  function stored(name, value) {
    return quietly(function () {
      if (value) window.localStorage.setItem(name, value);
      else if (value === "") window.localStorage.removeItem(name);
      else return String(window.localStorage.getItem(name) || "");
    }) || "";
  }

  function storedKey() {
    var value = stored(NAME);
    return /^[\w-]{22,64}$/.test(value) ? value : "";
  }

  // makeKey makes a new key. If the browser has no random numbers, there is none, and nothing
  // is told to anyone.
  function makeKey() {
    key = quietly(function () {
      var hex = "";
      window.crypto.getRandomValues(new Uint8Array(16)).forEach(function (n) {
        hex += (n + 256).toString(16).slice(1);
      });
      return hex;
    }) || "";
    stored(NAME, key);
  }

  function upscope() {
    var command = arguments;
    if (Upscope) quietly(function () { (read(window, "Upscope") || Upscope).apply(window, command); });
  }

  function rocketChat(call) {
    if (RocketChat) quietly(function () {
      (read(window, "RocketChat") || RocketChat)(function () {
        var widget = this;
        RocketChat = read(window, "RocketChat") || RocketChat; // the widget has replaced its queue
        quietly(function () { call(widget); });
      });
    });
  }

  function tellUpscope() {
    if (waiting || !key) return;
    var id = "rocketchat:" + key, keyNow = key;
    var identities = quietly(function () { return [].concat(settings.identities || [], id); }) || [id];
    upscope("updateConnection", { integrationIds: [id], identities: identities });
    if (settings.code) upscope("getLookupCode", function (digits) {
      if (keyNow !== key || digits === code) return;
      code = digits;
      tellChat();
    });
  }

  // Upscope looks for other chat products during its first ten seconds, and then
  // replaces the integration ids with theirs.
  var timer;
  function keepTelling() {
    tellUpscope();
    clearTimeout(timer);
    timer = setTimeout(function () {
      tellUpscope();
      timer = setTimeout(tellUpscope, 10000);
    }, 5000);
  }

  function connected() {
    connectedOnce = true;
    waiting = false;
    unmark("u");
    keepTelling();
  }

  function unmark(who) {
    if (left.indexOf(who) < 0) return;
    left = left.replace(who, "");
    stored(LEFT, left);
  }

  function tellChat() {
    rocketChat(function (widget) {
      if (muted || !key) return;
      if (left.indexOf("c") < 0) {
        widget.setCustomField(settings.field, key, true);
        if (code) widget.setCustomField(settings.codeField, code, true);
      } else if (registered !== key) {
        // The registration carries the key. A separate call could set it for the
        // former visitor while the registration is on its way.
        registered = key;
        widget.registerGuest({ customFields: [{ key: settings.field, value: key, overwrite: true }] });
        var keyNow = key;
        setTimeout(function () { if (keyNow === key) unmark("c"); }, 15000); // if the page closes first, the next one registers again
      }
    });
  }

  // leave ends the former visitor at Upscope. Until Upscope connects again, it adds
  // what it is told to the former visitor. So tellUpscope waits for the connection,
  // unless the reset is in Upscope's queue and so runs first.
  function leave() {
    code = "";
    upscope("updateConnection", { integrationIds: null, identities: null });
    upscope("reset");
    waiting = Upscope && !(connectedOnce && queued(Upscope, "reset"));
  }

  function forget() {
    left = "uc";
    stored(LEFT, left);
    makeKey();
    settings.identities = [];
    leave();
    keepTelling();
    tellChat();
  }

  // follow takes over the key of another tab. The chat in this tab may belong to the
  // former visitor until the page is loaded again, so it must not get the new key.
  function follow() {
    var theirs = storedKey();
    if (!theirs || theirs === key) return;
    key = theirs;
    muted = true;
    settings.identities = [];
    leave();
    keepTelling();
  }

  function run(command) {
    for (var name in settings) {
      var value = read(command, name);
      if (value !== undefined) settings[name] = value;
    }
    if (read(command, "forget")) return forget();
    tellUpscope();
    tellChat();
  }

  function push() {
    for (var i = 0; i < arguments.length; i++) run(arguments[i]);
  }
  push.cobrowse = true;

  function queued(api, command) {
    return quietly(function () {
      return [].concat(api.q || []).some(function (call) { return call && call[0] === command; });
    });
  }

  // The first command to Upscope must be "init", or Upscope does not start. If it is
  // not visible whether the page has sent it, wait for twenty looks.
  var patience = 20;
  function initiated(api) {
    return read(api, "_config") || quietly(function () { return !api.q; }) || queued(api, "init") || !read(api, "_version") && --patience < 0;
  }

  // another returns the page's function of this name if it is not the known one. If the page
  // returns a new function at each access, only the first one counts.
  function another(name, known) {
    var found = read(window, name);
    return typeof found === "function" && found !== known && (!known || found === read(window, name)) && found;
  }

  // look finds the widgets. They may load late, after consent, or never, and they
  // replace their queues when they load.
  var looks = 60;
  function look() {
    var found = another("Upscope", Upscope);
    if (found && initiated(found)) {
      Upscope = found;
      upscope("on", "connection", connected);
      if (left.indexOf("u") >= 0) leave();
      keepTelling();
    }
    if (found = another("RocketChat", RocketChat)) {
      RocketChat = found;
      rocketChat(function (widget) { widget.onChatStarted(tellChat); });
      tellChat();
    }
    if (--looks > 0) setTimeout(look, 1000);
  }

  left = stored(LEFT);
  key = storedKey();
  var isNew = !key;
  if (isNew) makeKey();
  if (!key) return;
  if (Array.isArray(commands)) quietly(function () {
    commands.forEach(run);
    commands.push = push; // for a page that does not let the array be replaced
  });
  quietly(function () { window.CobrowseBridge = { push: push }; });

  // If two tabs open at once, both make a key, and the later one stays.
  setTimeout(function () {
    key = storedKey() || key;
    look();
    window.addEventListener("storage", follow);
    window.addEventListener("pageshow", follow); // a page that was suspended gets no storage events
    // In document, an element with this name would hide the function.
    window.addEventListener("click", function () {
      if (looks > 0 || Upscope && RocketChat) return;
      looks = 10;
      look();
    }, true);
  }, isNew ? 200 : 0);
})(window);
