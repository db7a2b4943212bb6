package chatvisor

import _ "embed"

// pageScript runs on the pages of the operator's site. It sends Upscope the id that the
// site has for its customer; the site sends the same id to Chatvisor by CV.user.tag.
//
// It relies on window.CV and CVLoaded (docs.chatvisor.com, "JavaScript API"), and on
// Upscope's queue (cobrowsingapi.com/docs/sdk/web/sdk-functions, and the vendor's script
// 2.2.119).
//
//go:embed page/chatvisor.js
var pageScript []byte
