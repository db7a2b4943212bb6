package templates

import (
	"maps"
	"time"
)

var (
	noon = time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC)

	ann = Visitor{
		ID: "AB12CD", Name: "Ann Silva", Page: "shop.example/checkout/delivery", Where: "Lisbon, Portugal",
		Device: "Chrome on Windows", LastSeen: noon.Add(-20 * time.Second), Online: true, Supported: true,
	}
	annPhone = Visitor{
		ID: "EF34GH", Name: "Ann Silva", Page: "shop.example/orders/8841", Where: "Lisbon, Portugal",
		Device: "Safari on iPhone", LastSeen: noon.Add(-4 * time.Minute), Online: true, InSession: true, Supported: true,
	}
	nobody = Visitor{
		ID: "JK56LM", Page: "mirror-shop.example/checkout", Where: "Oslo, Norway",
		Device: "Opera Mini on Android", LastSeen: noon.Add(-3 * time.Hour), Foreign: true,
	}

	chat = Link{Address: "https://chat.example/rooms/8841"}
)

func with(v Visitor, change func(*Visitor)) Visitor {
	change(&v)
	return v
}

func door(change func(*Door), visitors ...Visitor) Door {
	d := Door{
		Path: "/w/k3yk3yk3y", Agent: "Sam Okoro", NameInChat: "Ann", Chat: chat,
		Reason: ReasonIntegration, Visitors: visitors, Now: noon,
	}
	if change != nil {
		change(&d)
	}
	return d
}

// samplePages has every state of every page by the name of its golden file.
func samplePages() map[string]Page {
	pages := map[string]Page{
		"door-ready":         door(nil, ann),
		"door-ready-nothing": door(func(d *Door) { *d = Door{Path: d.Path, Visitors: d.Visitors, Now: d.Now} }, Visitor{ID: "AB12CD", Online: true, Supported: true}),
		"door-ready-email":   door(func(d *Door) { d.Reason, d.NameInChat = ReasonEmail, "Bob Marsh" }, ann),
		"door-unsupported":   door(nil, with(ann, func(v *Visitor) { v.Supported = false })),
		"door-foreign":       door(nil, with(ann, func(v *Visitor) { v.Page, v.Foreign = "mirror-shop.example/checkout", true })),
		"door-session":       door(nil, annPhone),
		"door-session-ours":  door(func(d *Door) { d.CanStop = true }, annPhone),
		"door-chat":          door(func(d *Door) { d.OpeningChat = true }, annPhone),
		"door-open-chat":     door(func(d *Door) { d.OpenChat, d.Chat = "/w/k3yk3yk3y?chat=1", Link{} }, annPhone),
		"door-session-one":   door(func(d *Door) { d.Watching = []string{"Eve Evans"} }, annPhone),
		"door-session-two":   door(func(d *Door) { d.Watching = []string{"Eve Evans", "Kim Larsen"} }, annPhone),
		"door-session-many": door(func(d *Door) {
			d.Watching = []string{"Eve Evans", "Kim Larsen", "Bob Marsh", "Lea Brandt", "Noor Aziz", "Tom Reed", "Ida Holm"}
		}, annPhone),
		"door-session-yours":      door(func(d *Door) { d.OwnSession, d.Watching = true, []string{"Sam Okoro"} }, annPhone),
		"door-session-yours-ours": door(func(d *Door) { d.OwnSession, d.CanStop = true, true }, annPhone),
		"door-stop":               door(func(d *Door) { d.CanStop, d.Stopping, d.Runs = true, true, true }),
		"door-stop-opened":        door(func(d *Door) { d.CanStop, d.Stopping = true, true }),
		"door-offline-tells": door(func(d *Door) { d.CanNotify = true },
			with(ann, func(v *Visitor) { v.Online, v.LastSeen = false, noon.Add(-26*time.Minute) })),
		"door-offline":            door(nil, with(ann, func(v *Visitor) { v.Online, v.LastSeen = false, noon.Add(-26*time.Minute) })),
		"door-none":               door(nil),
		"door-none-nameless":      door(func(d *Door) { d.NameInChat, d.Chat = "", Link{} }),
		"door-withheld":           door(func(d *Door) { d.Withheld, d.CanType = WithheldOthers, true }),
		"door-withheld-wrong":     door(func(d *Door) { d.Withheld, d.CanType, d.WrongCode = WithheldOwn, true, true }),
		"door-withheld-malformed": door(func(d *Door) { d.Withheld, d.CanType, d.Malformed = WithheldOwn, true, true }),
		"door-withheld-wait":      door(func(d *Door) { d.Withheld, d.NameInChat, d.Chat = WithheldOthers, "", Link{} }),
		"door-choose":             door(func(d *Door) { d.Reason = ReasonUnique }, ann, annPhone, nobody),
		"door-choose-several":     door(func(d *Door) { d.Several = true }, ann, nobody),
		"door-changed":            door(func(d *Door) { d.OtherPerson, d.PreviousName = true, "Bob Marsh" }, ann),
		"door-changed-namesake":   door(func(d *Door) { d.OtherPerson, d.PreviousName = true, "Ann Silva" }, ann),
		"door-changed-all": door(func(d *Door) {
			d.OtherPerson, d.Reason, d.NameInChat = true, ReasonEmail, "Bob Marsh"
		}, with(nobody, func(v *Visitor) { v.Name = "Kim Larsen" })),
		"door-ready-id": door(nil, with(ann, func(v *Visitor) { v.Name, v.NameIsID = "84711", true })),
	}
	for kind, texts := range notices {
		for special := range texts.cases {
			pages["notice-"+string(kind)+"-"+string(special)] = Notice{Kind: kind, Case: special, Service: "Slack"}
		}
		n := Notice{Kind: kind, Agent: "Sam Okoro", Chat: chat, Service: "Rocket.Chat"}
		switch kind {
		case KindExpired, KindElsewhere:
			n.Renew = "/w/k3yk3yk3y/renew"
		case KindUpscopeDown, KindVisitorGone, KindInternal, KindCookies, KindOldBrowser:
			n.Retry = "/w/k3yk3yk3y"
		case KindThrottled:
			n.Retry, n.Wait = "/w/k3yk3yk3y", 90*time.Second
		case KindStore, KindAgain:
			n.Retry, n.Wait = "/w/k3yk3yk3y", 30*time.Second
		case KindOverPlan:
			n.Other = Link{Address: "https://upscope.example/w/AB12CD"}
		case KindUnknown, KindNotFound, KindMisdirected, KindMethod, KindAfter, KindCrossOrigin, KindNobody:
			n.Agent, n.Chat, n.Service = "", Link{}, ""
		case KindSignIn, KindSignedOut, KindStaleSignIn, KindDenied, KindSignInSetup, KindToken, KindClock, KindDomain, KindGroup, KindGroupsLeftOut:
			n.Agent, n.Chat, n.Retry = "", Link{}, "/signin"
		case KindIssuerDown:
			n.Agent, n.Chat, n.Retry, n.Wait = "", Link{}, "/signin", 10*time.Second
		case KindPolicy, KindOther:
			n.SignOut = true
		case KindLinked:
			n.SignOut, n.Account = true, "sam.okoro"
		}
		switch kind {
		case KindUpscopeDown, KindInternal, KindStore, KindIssuerDown, KindSignInSetup, KindToken, KindClock, KindChatDown, KindGroupsLeftOut:
			n.Request = "7f3a9c01d2e4b586"
		}
		pages["notice-"+string(kind)] = n
	}
	maps.Copy(pages, deskPages())
	return pages
}

// sampleCards has every state of a card by the name of its golden file.
func sampleCards() map[string]Card {
	full := func(state string) Card {
		return Card{
			State: state, Customer: CustomerName{Text: "Ann"}, Reason: ReasonIntegration, Page: "shop.example/checkout/delivery",
			Where: "Lisbon, Portugal", Device: "Chrome on Windows", Found: 3, Agent: "Sam Okoro", To: "Kim Larsen",
			Usage: "!cobrowse 4821",
			Sessions: []Session{
				{Outcome: Over, Length: 12*time.Minute + 40*time.Second, Agents: []string{"Sam Okoro", "Kim Larsen"}, Rating: new(4.5),
					Notes: []SessionNote{{"Helped with the delivery address.", "Sam Okoro"}}},
				{Outcome: Running, Agents: []string{"Sam Okoro"}},
			},
		}
	}
	cards := make(map[string]Card)
	for _, state := range []string{
		StateNoVisitor, StateChoose, StateOffline, StateReady, StateOpened, StateLive, StateEnded,
		StateClosed, StateMoved, StateFailed, StateBack, StateHelp, StateTooMany, StateTooManyOthers, StateTooOften, StateTooLate,
		StateStatus, StateUsage, StateNoUsage, StateStop, StateStopped, StateNotStopped,
	} {
		c := full(state)
		if state == StateEnded || state == StateOpened {
			c.Sessions = c.Sessions[:1]
		}
		cards["card-"+state] = c
		cards["card-"+state+"-bare"] = Card{State: state}
	}
	for name, o := range map[string]Outcome{"declined": Declined, "not-begun": NotBegun, "unknown": Unknown} {
		cards["card-ended-"+name] = Card{State: StateEnded, Customer: CustomerName{Text: "Ann"}, Sessions: []Session{{Outcome: o}}}
	}
	for reason := range refusalTexts {
		cards["card-refused-"+reason] = Card{State: StateRefused, Refusal: reason}
	}
	cards["card-ready-shared"] = Card{State: StateReady, Customer: CustomerName{Text: "Ann Silva"}, Owner: "Kim Larsen", Reason: ReasonCode}
	cards["card-no-visitor-code"] = Card{State: StateNoVisitor, Asked: true, ByCode: true}
	for _, why := range []Withheld{WithheldOwn, WithheldOthers} {
		cards["card-no-visitor-withheld-"+string(why)] = Card{State: StateNoVisitor, Customer: CustomerName{Text: "Ann"}, Withheld: why}
	}
	cards["card-no-visitor-id"] = Card{State: StateNoVisitor, Asked: true}
	cards["card-choose-one"] = Card{State: StateChoose, Customer: CustomerName{Text: "Ann"}, Found: 1}
	cards["card-failed-code"] = Card{State: StateFailed, Asked: true, ByCode: true}
	cards["card-ready-site-name"] = Card{State: StateReady, Customer: CustomerName{"Ann Silva", NameOnSite}, Reason: ReasonCode, Page: "shop.example/checkout"}
	cards["card-ready-site-id"] = Card{State: StateReady, Customer: CustomerName{"ann@example.org", IDOnSite}, Reason: ReasonCode, Page: "shop.example/checkout"}
	cards["card-ended-site-name"] = Card{State: StateEnded, Customer: CustomerName{"Ann Silva", NameOnSite}, Sessions: []Session{{Outcome: Over, Rating: new(0.0)}}}
	cards["card-ready-personal"] = Card{State: StateReady, Customer: CustomerName{Text: "Ann"}, Reason: ReasonEmail, Personal: true}
	cards["card-help-slack"] = Card{State: StateHelp, Usage: "/cobrowse 4821", InThread: "@cobrowse 4821", Commands: "/cobrowse status (your customers), /cobrowse stop (end your sessions), /cobrowse usage (numbers)"}
	for reason := range unclearTexts {
		cards["card-help-unclear-"+reason] = Card{State: StateHelp, Usage: "!cobrowse 4821", Unclear: reason}
	}
	cards["card-status-none"] = Card{State: StateStatus, Usage: "/cobrowse help"}
	closed := full(StateClosed)
	closed.Sessions = closed.Sessions[:1]
	cards["card-closed-over"] = closed
	return cards
}
