package slack

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	slackapi "github.com/slack-go/slack"
	"github.com/slack-go/slack/slackutilsx"

	"cobrowse-bridge/bridge"
)

// A message is what is posted. Its text is what notifications and screen readers
// have: all that the card says, and no address.
type message struct {
	text   string
	blocks []slackapi.Block
}

// An audience is who sees a message.
type audience int

const (
	oneAgent audience = iota
	// several people of the workspace: buttons have no addresses.
	several
	// outsiders are people of other companies among them: nothing of the visitor.
	outsiders
)

// layout puts a card into blocks: a heading, the facts, and a row of buttons.
func layout(card bridge.Card, who audience) (message, error) {
	if who == outsiders {
		card.Title, card.Lines, card.More, card.Chat = titleOutside, nil, nil, bridge.Link{}
	}
	var m message
	title := plain(card.Title, maxHeader)
	if title == "" {
		return message{}, errors.New("the card has no title")
	}
	facts, left := []string(nil), maxSection
	for _, l := range card.Lines {
		fact, label := plain(l.Text, maxFact), plain(l.Label, maxLabel)
		if fact == "" {
			continue
		}
		if label != "" {
			fact = label + ": " + fact
		}
		if left -= units(fact) + 1; left < 2 {
			facts = append(facts, "…")
			break
		}
		facts = append(facts, fact)
	}
	m.text = spoken(title, facts)
	m.blocks = append(m.blocks, slackapi.NewHeaderBlock(plainText(title)))
	if facts != nil {
		m.blocks = append(m.blocks, slackapi.NewSectionBlock(plainText(strings.Join(facts, "\n")), nil, nil))
	}
	buttons, err := row(card, who)
	if err != nil {
		return message{}, err
	}
	if buttons != nil {
		m.blocks = append(m.blocks, slackapi.NewActionBlock("", buttons...))
	}
	return m, nil
}

// spoken is the text for those who do not see blocks. Slack reads markup in it.
func spoken(title string, facts []string) string {
	all := title
	if facts != nil {
		all += ". " + strings.Join(facts, "; ")
	}
	for limit := maxText; ; limit = limit * 3 / 4 {
		if text := slackutilsx.EscapeMessage(clip(all, limit)); units(text) <= maxText {
			return text
		}
	}
}

// row is the row of buttons. One with an address is a link, and whoever has the
// link has what it leads to; so where several people see the row of a card that is
// not public, the button holds the card's id instead, and the press says who it
// was. Other ways that have an address are left out there.
func row(card bridge.Card, who audience) (all []slackapi.BlockElement, err error) {
	hidden := who != oneAgent && !card.Public
	add := func(l bridge.Link, primary, secret bool) {
		label := plain(l.Label, maxButton)
		if err != nil || l == (bridge.Link{}) || len(all) == maxElements {
			return
		}
		if label == "" {
			err = errors.New("a link of the card has no label")
			return
		}
		n := strconv.Itoa(len(all))
		var b *slackapi.ButtonBlockElement
		if l.Address == "" || secret && hidden {
			if !cardForm.MatchString(card.ID) {
				err = errors.New("the card's id cannot be the value of a button")
				return
			}
			b = slackapi.NewButtonBlockElement(actionOpen+n, card.ID, plainText(label))
		} else {
			if !webAddress(l.Address) {
				err = errors.New("a link of the card is no web address")
				return
			}
			b = slackapi.NewButtonBlockElement(actionLink+n, "", plainText(label))
			b.URL = l.Address
		}
		if primary {
			b.Style = slackapi.StylePrimary
		}
		all = append(all, b)
	}
	add(card.Button, true, true)
	for _, l := range card.More {
		if l.Address == "" || !hidden {
			add(l, false, true)
		}
	}
	add(card.Chat, false, false)
	return all, err
}

// webAddress reports whether an address can be that of a button.
func webAddress(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && len(address) <= maxURL
}

func plainText(s string) *slackapi.TextBlockObject {
	return slackapi.NewTextBlockObject(slackapi.PlainTextType, s, false, false)
}

// sentence is a message of one sentence of ours.
func sentence(s string) message {
	return message{text: slackutilsx.EscapeMessage(s), blocks: []slackapi.Block{slackapi.NewSectionBlock(plainText(s), nil, nil)}}
}

// offer is a sentence with the button that opens the dialog.
func offer() message {
	m := sentence(sayOpen)
	b := slackapi.NewButtonBlockElement(actionSearch, "", plainText(openLabel))
	b.Style = slackapi.StylePrimary
	m.blocks = append(m.blocks, slackapi.NewActionBlock("", b))
	return m
}
