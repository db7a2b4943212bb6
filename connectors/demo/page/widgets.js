// Stand-ins for the scripts of Upscope and of the chat: as much of them as the
// bridge's script on this page calls. They tell the demo what they are told.
"use strict";

let work = Promise.resolve();
const said = new Set();

// tell adds a line for people, once, and tells the demo, in order.
function tell(words, form) {
  if (!said.has(words)) {
    const line = document.createElement("p");
    line.textContent = words;
    document.getElementById("log").append(line);
    said.add(words);
  }
  work = work.then(() => fetch("browser", {method: "POST", body: new URLSearchParams(form)})).catch(() => {});
  return work;
}

const listeners = [];
window.Upscope = (command, ...told) => {
  switch (command) {
  case "on":
    listeners.push(told.at(-1));
    break;
  case "updateConnection": {
    const ids = told[0].integrationIds ?? [];
    const identities = told[0].identities ?? [];
    tell(ids.length ? `Upscope: this visitor is ${ids.join(", ")}` : "Upscope: forget who this is",
      [["do", "identify"], ...ids.map(id => ["id", id]), ...identities.map(id => ["identity", id])]);
    break;
  }
  case "reset":
    tell("Upscope: begin anew", {do: "reset"}).then(() => { for (const listener of listeners) listener(); });
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
  said.clear();
  window.CobrowseBridge.push({forget: true});
});
