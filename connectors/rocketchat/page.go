package rocketchat

import _ "embed"

// pageScript tells Upscope and Rocket.Chat that they see the same visitor. It runs on the
// pages of the operator's site, and the bridge serves the file unchanged.
//
// It relies on Upscope's queue and on the order of events after "reset"
// (cobrowsingapi.com/docs/sdk/web/sdk-functions, and the vendor's script 2.2.119), and on the
// calls of the livechat widget (developer.rocket.chat, "Livechat Widget API", and
// packages/livechat/src of github.com/RocketChat/Rocket.Chat).
//
//go:embed page/rocketchat.js
var pageScript []byte

// PageScript returns the script that is every connector's Page, for the demo. The caller
// must not change it.
func PageScript() []byte { return pageScript }
