// A stand-in for Chatvisor on a page, as documented (docs.chatvisor.com, "JavaScript API"):
// window.CV appears late, and Chatvisor then calls CVLoaded if the page defined it. tag sets
// the customer's id, and reset removes it.
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
