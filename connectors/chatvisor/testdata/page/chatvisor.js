// Chatvisor as a page sees it, by the vendor's manual (docs.chatvisor.com, "JavaScript
// API"): window.CV comes late, and then CVLoaded is called if somebody left it;
// tagging names the visitor, and reset makes them a stranger.
"use strict";
const chatvisor = {
  calls: [],
  tagged: null,

  arrives() {
    window.CV = {user: {
      tag(who) { chatvisor.calls.push("tag"); chatvisor.tagged = who; },
      reset() {
        if (chatvisor.broken) throw new Error("reset does not work");
        chatvisor.calls.push("reset");
        chatvisor.tagged = null;
      },
      list() { throw new Error("needs a token"); },
      status() { throw new Error("needs a token"); },
    }, rest: {auth() { throw new Error("a token on the page"); }}};
    if (typeof window.CVLoaded === "function") window.CVLoaded();
  },
};
