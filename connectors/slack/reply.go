package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/requestid"

	slackapi "github.com/slack-go/slack"
)

const (
	// replyTime is how long after an ask its answer may be an ephemeral message. Such a
	// message cannot be found again, so a process that does not know of it would post it
	// twice. If a process dies, another takes over its work after 45 s at the earliest, and
	// then sends a direct message, which can be found.
	replyTime = 40 * time.Second

	// responseUses is how many posts a response_url accepts
	// (docs.slack.dev/interactivity/handling-user-interaction#message_responses).
	responseUses = 5
)

const (
	// ephemeralRef is the ref of an ephemeral message, which cannot be edited.
	ephemeralRef chat.Ref = "said"
	// directRef in an attempt means that the answer continued as a direct message.
	directRef chat.Ref = "direct"
)

// reply shows a message to one person where they asked: first as an ephemeral message, and
// after a change as a direct message that is edited. If it is not known whether the ephemeral
// message was shown, it sends the direct message too, since only that person sees either.
func (c *connector) reply(ctx context.Context, p place, id string, ref chat.Ref, m message) (chat.Ref, error) {
	dm := place{kind: placeDM, user: p.user}
	if ref != "" && ref != ephemeralRef {
		return c.post(ctx, dm, id, ref, m)
	}
	key, content := digest(c.name, id, p.address()), m.digest()
	before, _ := c.attempts.Peek(key)
	switch {
	case ref == ephemeralRef, before.ref == directRef, before.ref == ephemeralRef && before.content != content:
		return c.post(ctx, dm, id, "", m)
	case before.ref == ephemeralRef:
		return ephemeralRef, nil
	}
	lost := false
	for _, way := range c.ways(p, m) {
		err := way.send(ctx)
		if err == nil {
			c.attempts.Put(key, attempt{ref: ephemeralRef, content: content})
			return ephemeralRef, nil
		}
		closed := unfit(err)
		if s, ok := errors.AsType[slackapi.StatusCodeError](err); ok && way.isURL {
			// A response_url answers any 4xx if it is used up, expired or unknown.
			closed = s.Code >= 400 && s.Code < 500 && s.Code != http.StatusTooManyRequests
		}
		if lost = !closed && !changedNothing(err); !closed && !lost {
			return "", c.fault(way.op, err)
		}
		c.log.InfoContext(ctx, "ephemeral answer not sent, trying another way", "connector", c.name, "card", id, "err", c.fault(way.op, err))
		if lost {
			break
		}
	}
	c.attempts.Put(key, attempt{ref: directRef})
	ref, err := c.post(ctx, dm, id, "", m)
	if wait := p.timeLeft(); err != nil && lost && wait > 0 && !chat.IsPermanent(err) {
		// After the wait every process sends a direct message.
		err = chat.RetryAfter(err, wait)
	}
	return ref, err
}

// timeLeft is how much longer the answer may be an ephemeral message.
func (p place) timeLeft() time.Duration { return time.Until(p.given.Add(replyTime)) }

func (m message) digest() string {
	blocks, _ := json.Marshal(m.blocks)
	return digest(m.text, string(blocks))
}

// A way is a way to send an ephemeral message to one person.
type way struct {
	op    string
	isURL bool // through the response_url, not the API
	send  func(context.Context) error
}

// ways returns the ways for a place, best first. A response_url also works in channels that
// the app is not in, but not in threads.
func (c *connector) ways(p place, m message) (all []way) {
	if p.timeLeft() <= 0 {
		return nil
	}
	ephemeral := way{op: "POST chat.postEphemeral", send: func(ctx context.Context) error {
		options := m.options()
		if p.thread != "" {
			options = append(options, slackapi.MsgOptionTS(p.thread))
		}
		_, err := c.api().PostEphemeralContext(ctx, p.channel, p.user, options...)
		return err
	}}
	respond := way{op: "POST response_url", isURL: true, send: func(ctx context.Context) error { return c.respond(ctx, p.respond, m) }}
	if p.channel != "" && p.thread != "" {
		all = append(all, ephemeral)
	}
	if p.respond != "" && c.mayRespond(p.respond) {
		all = append(all, respond)
	}
	if p.channel != "" && p.thread == "" {
		all = append(all, ephemeral)
	}
	return all
}

// mayRespond reports whether a response_url has an allowed host and a use left. It came in a
// signed delivery, but the connector posts to it, so it checks the host too.
func (c *connector) mayRespond(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" || u.Fragment != "" || !slices.Contains(c.hosts, strings.ToLower(u.Hostname())) {
		return false
	}
	used, _ := c.uses.Peek(digest(address))
	return used < responseUses
}

// respond posts to a response_url. slack-go's own function does not send the two flags that
// keep Slack from fetching links.
func (c *connector) respond(ctx context.Context, address string, m message) error {
	body, err := json.Marshal(map[string]any{
		"response_type": "ephemeral", "replace_original": false,
		"text": m.text, "blocks": m.blocks, "unfurl_links": false, "unfurl_media": false,
	})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(requestid.WithRoute(ctx, "response_url"), http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return &unsentError{errAnswer}
	}
	req.Header.Set("Content-Type", "application/json")
	key := digest(address)
	used, _ := c.uses.Peek(key)
	c.uses.Put(key, used+1)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusTooManyRequests {
		return &slackapi.RateLimitedError{RetryAfter: retryAfter(resp.Header)}
	}
	if resp.StatusCode != http.StatusOK {
		return slackapi.StatusCodeError{Code: resp.StatusCode}
	}
	// Read the body, so that the connection can be reused.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
	return nil
}
