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

// A place is where something is shown. As an address it is one of
//
//	dm/U1                          a direct message from the app
//	channel/C1, or C1              a channel
//	thread/C1/1700000000.000100    a thread in it
//	home/U1                        the app's Home tab
//	reply/U1/C1/thread/unix/url    seen by U1 alone, where they asked
//
// In a reply all but the user may be empty; unix is when they asked, and the rest of
// the address the response_url that came with it.
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

// Forms of ids and time stamps (docs.slack.dev/reference/objects): people are U or
// W, conversations C, G or D.
var (
	userForm    = regexp.MustCompile(`^[UW][A-Z0-9]{1,30}$`)
	channelForm = regexp.MustCompile(`^[CG][A-Z0-9]{1,30}$`)
	anywhere    = regexp.MustCompile(`^[CGD][A-Z0-9]{1,30}$`)
	stampForm   = regexp.MustCompile(`^[0-9]{1,12}\.[0-9]{1,9}$`)
)

func userID(s string) bool    { return userForm.MatchString(s) }
func channelID(s string) bool { return channelForm.MatchString(s) }
func stamp(s string) bool     { return stampForm.MatchString(s) }

var errPlace = errors.New("the place is none that Slack has")

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
		ok = userID(p.user) && (p.channel == "" || anywhere.MatchString(p.channel)) && (p.thread == "" || stamp(p.thread))
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

// isShared reports whether more than one person sees what is shown at an address.
// At one that is none nothing is ever shown.
func isShared(address string) bool {
	p, err := parsePlace(address)
	return err == nil && p.shared()
}

func (p place) shared() bool { return p.kind == placeChannel || p.kind == placeThread }

// digest makes one short name of several parts, the same for the same parts and
// telling nothing about them.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
