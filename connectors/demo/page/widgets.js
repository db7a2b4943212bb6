// Stand-ins for the scripts of Upscope and of the chat, with the functions that the
// bridge's script calls. They report each call to the demo.
"use strict";

let work = Promise.resolve();
const shown = new Set();

// tell adds a line to the page, once, and sends the call to the demo, in order.
function tell(words, form) {
  if (!shown.has(words)) {
    const line = document.createElement("p");
    line.textContent = words;
    document.getElementById("log").append(line);
    shown.add(words);
  }
  work = work.then(() => fetch("browser", {method: "POST", body: new URLSearchParams(form)})).catch(() => {});
  return work;
}

const listeners = [];
window.Upscope = (command, ...args) => {
  switch (command) {
  case "on":
    listeners.push(args.at(-1));
    break;
  case "updateConnection": {
    const ids = args[0].integrationIds ?? [];
    const identities = args[0].identities ?? [];
    tell(ids.length ? `Upscope: this customer is ${ids.join(", ")}` : "Upscope: forget this customer",
      [["do", "identify"], ...ids.map(id => ["id", id]), ...identities.map(id => ["identity", id])]);
    break;
  }
  case "reset":
    tell("Upscope: start again with a new customer", {do: "reset"}).then(() => { for (const listener of listeners) listener(); });
  }
};

const widget = {
  setCustomField(field, key) { tell(`The chat: ${field} is ${key}`, {do: "key", key}); },
  registerGuest({customFields: [{key: field, value: key}]}) {
    tell(`The chat: a new guest, whose ${field} is ${key}`, {do: "register", key});
  },
  onChatStarted() {},
};
window.RocketChat = call => { setTimeout(() => call.call(widget), 0); };

document.getElementById("forget").addEventListener("click", () => {
  shown.clear();
  window.CobrowseBridge.push({forget: true});
});
