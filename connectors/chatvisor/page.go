package chatvisor

import _ "embed"

// pageScript tells Upscope the id that the site has for its customer, which the
// site itself tells Chatvisor by CV.user.tag. It runs on the pages of the
// operator's site and is served as it is written.
//
// What it may rely on: window.CV and CVLoaded (docs.chatvisor.com, "JavaScript
// API"), and Upscope's queue (cobrowsingapi.com/docs/sdk/web/sdk-functions, and
// the vendor's script 2.2.119).
//
//go:embed page/chatvisor.js
var pageScript []byte
