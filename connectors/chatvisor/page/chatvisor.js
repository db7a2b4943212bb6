/*!
 * Co-browse bridge: sends Upscope the id that your site has for its customer, the
 * same id that you send to Chatvisor. It sets no cookie and makes no request.
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

  var queue = read(window, "CobrowseChatvisor"); // the page's array, nothing, or an element with that id
  if (read(read(queue, "push"), "cobrowse")) return; // the script runs already

  var KEY = "cobrowse_chatvisor_left"; // localStorage: a log-out whose reset is not done yet
  var id = "", identities = [];
  var Upscope; // the function that was found last
  var sent; // Upscope has the id
  var resetDue; // a log-out happened, and the widgets are not reset yet
  var wasConnected, reconnecting; // reconnecting: from a reset until the next connection

  // stored reads the value, sets it, or removes it with "". It does nothing if storage is
  // blocked.
  function stored(value) {
    return quietly(function () {
      if (value) window.localStorage.setItem(KEY, value);
      else if (value === "") window.localStorage.removeItem(KEY);
      else return window.localStorage.getItem(KEY);
    }) || "";
  }

  // A site may define CVLoaded itself, so only window.CV shows that Chatvisor is loaded.
  function chatvisor() { return read(read(window, "CV"), "user"); }

  // upscope calls Upscope and ignores its errors.
  function upscope() {
    var command = arguments;
    quietly(function () { (read(window, "Upscope") || Upscope).apply(window, command); });
  }

  // send waits for both widgets: an id that only one has finds no customer.
  function send() {
    if (!id || resetDue || reconnecting || !Upscope || !chatvisor()) return;
    var all = quietly(function () { return [].concat(identities || [], id); }) || [id];
    upscope("updateConnection", { integrationIds: [id], identities: all });
    sent = true;
  }

  function clear() {
    upscope("updateConnection", { integrationIds: null, identities: null });
    sent = false;
  }

  // In its first ten seconds Upscope looks for other chat products. If it finds one, it
  // replaces the integration ids.
  var timer;
  function sendRepeatedly() {
    send();
    clearTimeout(timer);
    timer = setTimeout(function () {
      send();
      timer = setTimeout(send, 10000);
    }, 5000);
  }

  function connected() {
    wasConnected = true;
    reconnecting = false;
    sendRepeatedly();
  }

  // reset resets both widgets or neither: one alone would continue with the former
  // customer. Until Upscope's next connection, an id would still go to the former visitor,
  // so send waits for it, unless the reset itself waits in Upscope's queue.
  function reset() {
    if (!resetDue || !Upscope || !chatvisor()) return;
    try {
      window.CV.user.reset();
    } catch (ignored) {
      return;
    }
    clear();
    upscope("reset");
    reconnecting = !(wasConnected && queued(Upscope, "reset"));
    resetDue = false;
    stored("");
  }

  function update() {
    reset();
    sendRepeatedly();
  }

  // take handles one object from the site. An invalid externalId, such as null on a page
  // without a customer, removes the former id. Identities belong to one id.
  function take(data) {
    if (read(data, "forget")) {
      id = "";
      identities = [];
      resetDue = true;
      stored("1");
    }
    if (quietly(function () { return "externalId" in data; })) {
      var value = read(data, "externalId"), before = id;
      id = /string|number/.test(typeof value) && /^(?!(null|undefined|NaN)$)[\w.@+\/=~-]{1,200}$/.test(value) ? "chatvisorext:" + value : "";
      if (!id || before && id !== before) identities = [];
      if (!id && sent) clear();
    }
    var theirs = read(data, "identities");
    if (theirs !== undefined) identities = theirs;
    update();
  }

  function push() {
    for (var i = 0; i < arguments.length; i++) take(arguments[i]);
  }
  push.cobrowse = true;

  function queued(it, command) {
    return quietly(function () {
      return [].concat(it.q || []).some(function (call) { return call && call[0] === command; });
    });
  }

  // Upscope does not start if its first command is not "init". If nothing shows whether
  // "init" was called, initiated returns true after 20 tries.
  var tries = 20;
  function initiated(it) {
    return read(it, "_config") || quietly(function () { return !it.q; }) || queued(it, "init") || !read(it, "_version") && --tries < 0;
  }

  // find looks for the widgets every second. They may load late, after consent, first as a
  // queue that is replaced, or never.
  var looks = 60, chatvisorFound = false;
  function find() {
    var found = false, it = read(window, "Upscope");
    // If the page returns a new function at each access, only the first one counts.
    if (typeof it === "function" && it !== Upscope && (!Upscope || it === read(window, "Upscope")) && initiated(it)) {
      Upscope = it;
      upscope("on", "connection", connected);
      found = true;
    }
    if (chatvisor() && !chatvisorFound) found = chatvisorFound = true;
    if (found) update();
    if (--looks > 0) setTimeout(find, 1000);
  }

  // Chatvisor calls CVLoaded once. The site's own CVLoaded is called after the reset and
  // before an id is sent.
  if (!chatvisor()) {
    var earlier = read(window, "CVLoaded");
    quietly(function () {
      window.CVLoaded = function () {
        reset();
        try {
          if (typeof earlier === "function") return earlier.apply(this, arguments);
        } finally {
          chatvisorFound = !!chatvisor();
          update();
        }
      };
    });
  }

  resetDue = !!stored();
  if (Array.isArray(queue)) quietly(function () {
    queue.forEach(take);
    queue.push = push; // for a page that does not let the array be replaced
  });
  quietly(function () { window.CobrowseChatvisor = { push: push }; });
  find();
  // In document, an element with this name would hide the function.
  window.addEventListener("click", function () {
    if (looks > 0 || Upscope && chatvisorFound) return;
    looks = 10;
    find();
  }, true);
})(window);
