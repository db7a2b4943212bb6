package rocketchat

import _ "embed"

// pageScript tells Upscope and Rocket.Chat that they see the same visitor. It
// runs on the pages of the operator's site and is served as it is written.
//
// What it may rely on: Upscope's queue and the order of what happens after
// "reset" (cobrowsingapi.com/docs/sdk/web/sdk-functions, and the vendor's script
// 2.2.119), and the calls of the livechat widget
// (developer.rocket.chat, "Livechat Widget API", and packages/livechat/src of
// github.com/RocketChat/Rocket.Chat).
//
//go:embed page/rocketchat.js
var pageScript []byte

// PageScript is the script of every connector's Page, for the demo. It must not
// be changed.
func PageScript() []byte { return pageScript }
