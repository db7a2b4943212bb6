// Package bridge finds the Upscope visitor of a chat, shows the agent a card, and starts a co-browse
// session when the agent presses the card's button. Read bridge.go first.
package bridge
