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

	slackapi "github.com/slack-go/slack"

	"cobrowse-bridge/bridge"
)

const (
	// atOnce is how long after an ask its answer may appear where it was asked. That
	// message cannot be found again, so a process that knows nothing of it would post
	// it a second time. What a process that died has left behind comes to another
	// after 45 s at the earliest: by then answers are direct messages, which are
	// found.
	atOnce = 40 * time.Second

	// A response_url takes five posts
	// (docs.slack.dev/interactivity/handling-user-interaction#message_responses).
	responseUses = 5
)

const (
	// said is the ref of an ephemeral message: there is nothing to edit.
	said bridge.Ref = "said"
	// direct is what an attempt notes when the answer went on to a direct message.
	direct bridge.Ref = "direct"
)

// reply shows a message to one person where they asked: the first time as an
// ephemeral message, and whatever changes afterwards in a direct message that is
// edited. Where it is not known whether the ephemeral message came, the direct
// message comes too: two are better than none, and both are theirs alone.
func (c *connector) reply(ctx context.Context, p place, id string, ref bridge.Ref, m message) (bridge.Ref, error) {
	dm := place{kind: placeDM, user: p.user}
	if ref != "" && ref != said {
		return c.post(ctx, dm, id, ref, m)
	}
	mark, words := digest(c.name, id, p.address()), m.print()
	before, _ := c.attempts.get(mark)
	switch {
	case ref == said, before.ref == direct, before.ref == said && before.words != words:
		return c.post(ctx, dm, id, "", m)
	case before.ref == said:
		return said, nil
	}
	lost := false
	for _, way := range c.ways(p, m) {
		err := way.send(ctx)
		if err == nil {
			c.attempts.put(mark, attempt{ref: said, words: words})
			return said, nil
		}
		final := undone(err) && bridge.IsPermanent(c.fault(way.op, err)) || refusedAs(err, memberCodes...) || refusedAs(err, "missing_scope")
		if s, ok := errors.AsType[slackapi.StatusCodeError](err); ok && way.own {
			// A response_url answers any 4xx when it is used up, too old or unknown.
			final = s.Code >= 400 && s.Code < 500 && s.Code != http.StatusTooManyRequests
		}
		if lost = !final && !undone(err); !final && !lost {
			return "", c.fault(way.op, err)
		}
		c.log.InfoContext(ctx, "an answer takes another way", "connector", c.name, "card", id, "err", c.fault(way.op, err))
		if lost {
			break
		}
	}
	c.attempts.put(mark, attempt{ref: direct})
	ref, err := c.post(ctx, dm, id, "", m)
	if wait := p.left(); err != nil && lost && wait > 0 && !bridge.IsPermanent(err) {
		// Whichever process tries next, it goes to the direct message.
		err = bridge.RetryAfter(err, wait)
	}
	return ref, err
}

// left is how much longer an answer may appear where it was asked for.
func (p place) left() time.Duration { return time.Until(p.given.Add(atOnce)) }

func (m message) print() string {
	blocks, _ := json.Marshal(m.blocks)
	return digest(m.text, string(blocks))
}

// A way is one of the ways to say something to one person.
type way struct {
	op   string
	own  bool // not through the API
	send func(context.Context) error
}

// ways are those before a direct message, best first. A response_url reaches
// channels that the app is not in, but not threads.
func (c *connector) ways(p place, m message) (all []way) {
	if p.left() <= 0 {
		return nil
	}
	ephemeral := way{op: "POST chat.postEphemeral", send: func(ctx context.Context) error {
		options := m.options()
		if p.thread != "" {
			options = append(options, slackapi.MsgOptionTS(p.thread))
		}
		_, err := c.api.PostEphemeralContext(ctx, p.channel, p.user, options...)
		return err
	}}
	respond := way{op: "POST response_url", own: true, send: func(ctx context.Context) error { return c.respond(ctx, p.respond, m) }}
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

// mayRespond reports whether a response_url is one of Slack's with a use left.
// It came in a signed delivery and is checked all the same: we would post to it.
func (c *connector) mayRespond(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" || u.Fragment != "" || !slices.Contains(c.hosts, strings.ToLower(u.Hostname())) {
		return false
	}
	used, _ := c.uses.get(digest(address))
	return used < responseUses
}

// respond posts to a response_url. slack-go's own way leaves the two flags out
// that keep Slack from fetching the links.
func (c *connector) respond(ctx context.Context, address string, m message) error {
	body, err := json.Marshal(map[string]any{
		"response_type": "ephemeral", "replace_original": false,
		"text": m.text, "blocks": m.blocks, "unfurl_links": false, "unfurl_media": false,
	})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return &unsentError{errAnswer}
	}
	req.Header.Set("Content-Type", "application/json")
	mark := digest(address)
	used, _ := c.uses.get(mark)
	c.uses.put(mark, used+1)
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
	// What follows the 200 says nothing: read, so that the connection can be used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
	return nil
}
