/*!
 * Co-browse bridge: tells Upscope by which id your site knows its customer, the
 * same that you tell Chatvisor. No cookie, no request, no token.
 */
(function (window, document) {
  "use strict";

  var wishes = window.CobrowseChatvisor;
  if (wishes && !Array.isArray(wishes)) return; // the script is here twice

  var LEFT = "cobrowse_chatvisor_left"; // in localStorage: a customer has left, and the widgets do not know
  var id = "", identities = [];
  var Upscope; // as it was last seen
  var told; // Upscope has the id
  var left; // the former customer has yet to be forgotten
  var met, waiting; // Upscope has been connected; it is not yet as the new visitor

  // stored reads, writes, or removes with "". Blocked storage holds nothing.
  function stored(value) {
    try {
      if (value) window.localStorage.setItem(LEFT, value);
      else if (value === "") window.localStorage.removeItem(LEFT);
      else return window.localStorage.getItem(LEFT) || "";
    } catch (blocked) {}
    return "";
  }

  // CVLoaded may be anybody's function, so that it says nothing about this.
  function chatvisor() { return window.CV && window.CV.user; }

  // What goes wrong in a widget stays there.
  function upscope() {
    try {
      window.Upscope.apply(window, arguments);
    } catch (theirs) {}
  }

  // tell waits for both: an id that only one of them has joins nothing.
  function tell() {
    if (!id || left || waiting || !Upscope || !chatvisor()) return;
    upscope("updateConnection", { integrationIds: [id], identities: [].concat(identities || [], id) });
    told = true;
  }

  function untell() {
    upscope("updateConnection", { integrationIds: null, identities: null });
    told = false;
  }

  // Upscope looks for other chat products during its first ten seconds, and what
  // it finds replaces the integration ids.
  var again;
  function keepTelling() {
    tell();
    clearTimeout(again);
    again = setTimeout(function () {
      tell();
      again = setTimeout(tell, 10000);
    }, 5000);
  }

  function connected() {
    met = true;
    waiting = false;
    keepTelling();
  }

  // part resets both, or neither: one of them alone would go on with the customer
  // before. While it waits nothing is told to either. What Upscope is told after the
  // reset would be told of the former visitor until the next connection, unless the
  // reset waits for one too.
  function part() {
    if (!left || !Upscope || !chatvisor()) return;
    try {
      window.CV.user.reset();
    } catch (theirs) {
      return;
    }
    untell();
    upscope("reset");
    waiting = !(met && queued(Upscope, "reset"));
    left = false;
    stored("");
  }

  function both() {
    part();
    keepTelling();
  }

  // What is no id, such as the null of a page without a customer, takes back what
  // was told: the next would go by the id of the one before. Nor do the identities of
  // one go with the id of another.
  function take(wish) {
    if (!wish) return;
    if (wish.forget) {
      id = "";
      identities = [];
      left = true;
      stored("1");
    }
    if (Object(wish).hasOwnProperty("externalId")) {
      var value = wish.externalId, before = id;
      id = /string|number/.test(typeof value) && /^(?!(null|undefined|NaN)$)[\w-]{1,128}$/.test(value) ? "chatvisorext:" + value : "";
      if (!id || before && id !== before) identities = [];
      if (!id && told) untell();
    }
    if (wish.identities !== undefined) identities = wish.identities;
    both();
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
  var looks = 60, had = false;
  function look() {
    var news = false;
    if (typeof window.Upscope === "function" && window.Upscope !== Upscope && initiated(window.Upscope)) {
      Upscope = window.Upscope;
      upscope("on", "connection", connected);
      news = true;
    }
    if (chatvisor() && !had) news = had = true;
    if (news) both();
    if (--looks > 0) setTimeout(look, 1000);
  }

  // Chatvisor calls CVLoaded once; whoever was there before is called too, after
  // the former customer is forgotten and before anybody is told of the next.
  if (!chatvisor()) {
    var earlier = window.CVLoaded;
    window.CVLoaded = function () {
      part();
      try {
        if (typeof earlier === "function") return earlier.apply(this, arguments);
      } finally {
        had = !!chatvisor();
        both();
      }
    };
  }

  left = !!stored();
  (wishes || []).forEach(take);
  window.CobrowseChatvisor = { push: take };
  look();
  document.addEventListener("click", function () {
    if (looks > 0 || Upscope && had) return;
    looks = 10;
    look();
  }, true);
})(window, document);
