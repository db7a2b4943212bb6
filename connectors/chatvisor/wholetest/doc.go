// Package wholetest contains only tests. They run the whole bridge, from a webhook of
// Chatvisor to a card in Slack or Rocket.Chat and a press on it. Read engine_test.go first.
package wholetest
