package slack

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"cobrowse-bridge/bridge/chat"

	slackapi "github.com/slack-go/slack"
	"github.com/slack-go/slack/slackutilsx"
)

// A message is the content of a post. text is for notifications and screen readers: it has
// all facts of the card, and no address.
type message struct {
	text   string
	blocks []slackapi.Block
}

// An audience is who sees a message.
type audience int

const (
	oneAgent audience = iota
	// several means several people of the workspace: buttons of a card have no addresses
	// unless it is public.
	several
	// outsiders means that people of other companies are among them: the message does not
	// name the visitor either.
	outsiders
)

// layout puts a card into blocks: a heading, the facts, and a row of buttons.
func layout(card chat.Card, who audience) (message, error) {
	if who == outsiders {
		card.Title, card.Lines, card.More, card.Chat = titleOutside, []chat.Line{{Text: factOutside}}, nil, chat.Link{}
		if card.Button == (chat.Link{}) {
			card.Title, card.Lines = titleOutsideDone, []chat.Line{{Text: factOutsideDone}}
		}
	}
	var m message
	title := plain(card.Title, maxHeader)
	if title == "" {
		return message{}, errors.New("the card has no title")
	}
	facts, remaining := []string(nil), maxSection
	for _, l := range card.Lines {
		fact, label := plain(l.Text, maxFact), plain(l.Label, maxLabel)
		if fact == "" {
			continue
		}
		if label != "" {
			fact = label + ": " + fact
		}
		if remaining -= utf16Len(fact) + 1; remaining < 2 {
			facts = append(facts, "…")
			break
		}
		facts = append(facts, fact)
	}
	m.text = fallbackText(title, facts)
	m.blocks = append(m.blocks, slackapi.NewHeaderBlock(plainText(title)))
	if facts != nil {
		m.blocks = append(m.blocks, slackapi.NewSectionBlock(plainText(strings.Join(facts, "\n")), nil, nil))
	}
	buttons, err := buttonRow(card, who)
	if err != nil {
		return message{}, err
	}
	if buttons != nil {
		m.blocks = append(m.blocks, slackapi.NewActionBlock("", buttons...))
	}
	return m, nil
}

// fallbackText is the text for notifications and screen readers, which do not use blocks.
// Slack reads markup in it, so it is escaped.
func fallbackText(title string, facts []string) string {
	all := title
	if facts != nil {
		all += ". " + strings.Join(facts, "; ")
	}
	for limit := maxText; ; limit = limit * 3 / 4 {
		if text := slackutilsx.EscapeMessage(clip(all, limit)); utf16Len(text) <= maxText {
			return text
		}
	}
}

// buttonRow makes the buttons of a card. A button with an address is a link that works for
// everyone who has it. So if several people see a card that is not public, its button has the
// card's id instead, and Slack reports who pressed it. Further links with an address are left
// out there.
func buttonRow(card chat.Card, who audience) (all []slackapi.BlockElement, err error) {
	hidden := who != oneAgent && !card.Public
	add := func(l chat.Link, primary, secret bool) {
		label := plain(l.Label, maxButton)
		if err != nil || l == (chat.Link{}) || len(all) == maxElements {
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
				err = errors.New("a link of the card is not a web address")
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

// webAddress reports whether an address can be a button's.
func webAddress(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && len(address) <= maxURL
}

func plainText(s string) *slackapi.TextBlockObject {
	return slackapi.NewTextBlockObject(slackapi.PlainTextType, s, false, false)
}

// sentence makes a message of one sentence.
func sentence(s string) message {
	return message{text: slackutilsx.EscapeMessage(s), blocks: []slackapi.Block{slackapi.NewSectionBlock(plainText(s), nil, nil)}}
}

// offer makes the message with the button that opens the dialog.
func offer() message {
	m := sentence(openText)
	b := slackapi.NewButtonBlockElement(actionSearch, "", plainText(openLabel))
	b.Style = slackapi.StylePrimary
	m.blocks = append(m.blocks, slackapi.NewActionBlock("", b))
	return m
}
