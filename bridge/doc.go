// Package bridge works out which Upscope visitor a chat visitor is, shows the
// agent a card, and turns the agent's press on it into a co-browsing session.
package bridge
