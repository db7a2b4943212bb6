package slack

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A place is where a card or an answer is shown. Its address has one of these forms:
//
//	dm/U1                          a direct message from the app
//	channel/C1, or C1              a channel
//	thread/C1/1700000000.000100    a thread in a channel
//	home/U1                        the app's Home tab
//	reply/U1/C1/thread/unix/url    where U1 asked, visible to U1 only
//
// In a reply all parts except the user may be empty. unix is the time when the agent asked,
// and url is the response_url of the request.
type place struct {
	kind    string
	user    string
	channel string
	thread  string
	given   time.Time
	respond string
}

const (
	placeDM      = "dm"
	placeChannel = "channel"
	placeThread  = "thread"
	placeHome    = "home"
	placeReply   = "reply"
)

// The forms of ids and time stamps (docs.slack.dev/reference/objects). Ids of people begin
// with U or W, those of conversations with C, G or D (a direct message).
var (
	userForm         = regexp.MustCompile(`^[UW][A-Z0-9]{1,30}$`)
	channelForm      = regexp.MustCompile(`^[CG][A-Z0-9]{1,30}$`)
	conversationForm = regexp.MustCompile(`^[CGD][A-Z0-9]{1,30}$`)
	stampForm        = regexp.MustCompile(`^[0-9]{1,12}\.[0-9]{1,9}$`)
)

func userID(s string) bool    { return userForm.MatchString(s) }
func channelID(s string) bool { return channelForm.MatchString(s) }
func stamp(s string) bool     { return stampForm.MatchString(s) }

var errPlace = errors.New("the place is not an address in Slack")

func (p place) address() string {
	switch p.kind {
	case placeChannel:
		return "channel/" + p.channel
	case placeThread:
		return "thread/" + p.channel + "/" + p.thread
	case placeReply:
		given := ""
		if !p.given.IsZero() {
			given = strconv.FormatInt(p.given.Unix(), 10)
		}
		return fmt.Sprintf("reply/%s/%s/%s/%s/%s", p.user, p.channel, p.thread, given, p.respond)
	}
	return p.kind + "/" + p.user
}

func parsePlace(address string) (place, error) {
	kind, rest, found := strings.Cut(address, "/")
	p := place{kind: kind}
	ok := false
	switch {
	case !found && channelID(address):
		return place{kind: placeChannel, channel: address}, nil
	case !found && userID(address):
		return place{kind: placeDM, user: address}, nil
	case kind == placeDM, kind == placeHome:
		p.user, ok = rest, userID(rest)
	case kind == placeChannel:
		p.channel, ok = rest, channelID(rest)
	case kind == placeThread:
		p.channel, p.thread, _ = strings.Cut(rest, "/")
		ok = channelID(p.channel) && stamp(p.thread)
	case kind == placeReply:
		parts := strings.SplitN(rest, "/", 5)
		if len(parts) != 5 {
			break
		}
		p.user, p.channel, p.thread, p.respond = parts[0], parts[1], parts[2], parts[4]
		ok = userID(p.user) && (p.channel == "" || conversationForm.MatchString(p.channel)) && (p.thread == "" || stamp(p.thread))
		if unix, err := strconv.ParseInt(parts[3], 10, 64); err == nil {
			p.given = time.Unix(unix, 0)
		} else if parts[3] != "" {
			ok = false
		}
	}
	if !ok {
		return place{}, errPlace
	}
	return p, nil
}

// isShared reports whether more than one person sees what is shown at an address. It is
// false for an invalid address, where nothing is ever shown.
func isShared(address string) bool {
	p, err := parsePlace(address)
	return err == nil && p.shared()
}

func (p place) shared() bool { return p.kind == placeChannel || p.kind == placeThread }

// digest returns a short hash of parts, which does not reveal them.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
