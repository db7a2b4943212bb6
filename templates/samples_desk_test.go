package templates

import "time"

var (
	sam = Agent{Name: "Sam Okoro", Email: "sam@corp.example", ID: "oidc:id.corp.example/8f14e45f"}

	plainAgent = SignedInAgent{Agent: sam, CanSignOut: true}
	operator   = SignedInAgent{Agent: sam, CanSignOut: true, CanOperate: true, CanAudit: true, CanErase: true}
)

func minutesAgo(n int) time.Time { return noon.Add(-time.Duration(n) * time.Minute) }

func deskCard(id, state string, change func(*DeskCard)) DeskCard {
	c := DeskCard{
		ID: id, State: state, Customer: CustomerName{Text: "Ann Silva"}, Reason: ReasonIntegration, Page: "https://shop.example/checkout/delivery?token=s3cr3t",
		Where: "Lisbon, Portugal", Device: "Chrome on Windows", Chat: chat, Changed: minutesAgo(2), CanOpen: true,
	}
	c.Chat.Label = ""
	if change != nil {
		change(&c)
	}
	return c
}

// allCards has a card of every state, in an order that is not that of the desk.
func allCards() []DeskCard {
	named := func(name string, more func(*DeskCard)) func(*DeskCard) {
		return func(c *DeskCard) {
			c.Customer.Text = name
			if more != nil {
				more(c)
			}
		}
	}
	bare := func(c *DeskCard) { c.Page, c.Where, c.Device, c.CanOpen = "", "", "", false }
	return []DeskCard{
		deskCard("c-failed", StateFailed, named("Ida Roth", bare)),
		deskCard("c-offline", StateOffline, named("Joana Prates", func(c *DeskCard) {
			c.Page, c.Where, c.Device, c.CanTell, c.Changed = "shop.example/returns", "Porto, Portugal", "Safari on iPhone", true, minutesAgo(9)
		})),
		deskCard("c-waited", StateOffline, named("Bob Marsh", func(c *DeskCard) {
			c.Where, c.Device, c.Page, c.Waiting, c.Changed = "Leeds, United Kingdom", "Edge on Windows", "shop.example/basket", true, minutesAgo(31)
		})),
		deskCard("c-ended", StateEnded, named("mira@example.org", func(c *DeskCard) { c.Customer.Source, c.Changed = IDOnSite, minutesAgo(48) })),
		deskCard("c-no-visitor", StateNoVisitor, named("Tomás", bare)),
		deskCard("c-live", StateLive, named("Kim Larsen", func(c *DeskCard) {
			c.Customer.Source = NameOnSite
			c.CanStop, c.Changed, c.Where, c.Page = true, minutesAgo(6), "Oslo, Norway", "shop.example/account/cards"
		})),
		deskCard("c-choose", StateChoose, named("Lee", func(c *DeskCard) { c.Page, c.Where, c.Device, c.Reason = "", "", "", "" })),
		deskCard("c-ready", StateReady, nil),
		deskCard("c-back", StateBack, named("نور الهدى", func(c *DeskCard) {
			c.Reason, c.Changed, c.Where, c.Device = ReasonEmail, minutesAgo(0), "Cairo, Egypt", "Chrome on Android"
		})),
		deskCard("c-opened", StateOpened, named("Dana Fox", func(c *DeskCard) { c.Chat = Link{} })),
		deskCard("c-one", StateChoose, named("Olu Ade", func(c *DeskCard) { c.Page, c.Where, c.Device, c.Reason, c.Found = "", "", "", "", 1 })),
		deskCard("c-expired", StateLive, named("Eve Evans", func(c *DeskCard) { c.CanOpen, c.Expired = false, true })),
	}
}

func sessions() []DeskSession {
	return []DeskSession{
		{Card: "c-2", Customer: CustomerName{Text: "Joana Prates"}, Started: minutesAgo(26 * 60), Session: Session{Outcome: Declined}, Chat: Link{Address: "https://chat.example/rooms/8702"}},
		{Card: "c-1", Customer: CustomerName{Text: "Mira Novak"}, Started: minutesAgo(70), Recording: Link{Address: "https://app.upscope.example/recordings/1"}, Chat: Link{Address: "https://chat.example/rooms/8822"},
			Session: Session{Outcome: Over, Length: 12*time.Minute + 40*time.Second, Agents: []string{"Sam Okoro", "Kim Larsen"}, Rating: new(4.5),
				Notes: []SessionNote{{"Helped with the delivery address.", "Sam Okoro"}, {"\u200b", "nobody"}}}},
		{Card: "c-live", Customer: CustomerName{Text: "Kim Larsen"}, Started: minutesAgo(6), Session: Session{Outcome: Running, Agents: []string{"Sam Okoro"}}},
	}
}

func accounts() []Account {
	return []Account{
		{ID: "slack:T1/U2", Service: "Slack", Name: "@sam.okoro", How: ConnectedByAgent, Since: noon.AddDate(0, 0, -12)},
		{ID: "rocketchat:a1", Service: "Rocket.Chat", Name: "sokoro", How: ConnectedByEmail, Since: noon.AddDate(0, -3, 0)},
	}
}

func busyDesk(change func(*Desk)) Desk {
	d := Desk{SignedIn: operator, CanLookUp: true, Cards: allCards(), Sessions: sessions(), Accounts: accounts(), Now: noon}
	if change != nil {
		change(&d)
	}
	return d
}

func records() []AuditRecord {
	return []AuditRecord{
		{Seq: 4127, At: minutesAgo(6), Action: "watching", Agent: sam.ID, Visitor: "AB12CD", Card: "0193a5f2-7c1e-7a10-9d1a-5b7c2f4e8a01",
			Connector: "rocketchat", Chat: "8841", Detail: "by integration, from the chat, page seen"},
		{Seq: 4126, At: minutesAgo(7), Action: "asked", Agent: "rocketchat:a1", Visitor: "AB12CD", Card: "0193a5f2-7c1e-7a10-9d1a-5b7c2f4e8a01", Connector: "rocketchat", Chat: "8841"},
		{Seq: 4125, At: minutesAgo(61), Action: "erased", Agent: sam.ID, Detail: "receipt 0193a5f0"},
		{Seq: 4002, At: minutesAgo(3000), Action: "watching", Agent: "slack:T1/U2", Card: "0193a5e0-1111-7a10-9d1a-5b7c2f4e8a01", Connector: "slack", Erased: true},
	}
}

// deskPages has every state of every page of the desk, and of the Connect page.
func deskPages() map[string]Page {
	found := &EraseCounts{Cards: 3, Deliveries: 1, Jobs: 0, Records: 17}
	person := Erase{SignedIn: operator, Kind: EraseUnique, ID: "customer-8841", Upscope: true}
	erase := func(change func(*Erase)) Erase {
		e := person
		change(&e)
		return e
	}
	receipt := func(state, note string) *EraseReceipt {
		return &EraseReceipt{ID: "0193a5f2-7c1e-7a10-9d1a-5b7c2f4e8a01", State: state, Removed: *found, Visitors: 2, Note: note}
	}
	healthy := []Health{{"rocketchat", HealthOK, minutesAgo(340)}, {"slack", HealthIdle, time.Time{}}}
	pages := map[string]Page{
		"desk-busy":            busyDesk(nil),
		"desk-empty":           Desk{SignedIn: plainAgent, CanLookUp: true, Now: noon},
		"desk-empty-connected": Desk{SignedIn: plainAgent, Accounts: accounts()[:1], Now: noon},
		"desk-proxy":           Desk{SignedIn: SignedInAgent{Agent: Agent{ID: "header:sam"}}, Now: noon, Accounts: accounts()[:1], Cards: []DeskCard{deskCard("c-ready", StateReady, func(c *DeskCard) { c.CanOpen = false })}},
		"desk-agent": Desk{SignedIn: plainAgent, CanLookUp: true, Now: noon, Accounts: accounts()[:1], Sessions: sessions()[:2],
			Cards: []DeskCard{deskCard("c-ready", StateReady, nil), allCards()[1], allCards()[2]}},
		"desk-team": Desk{SignedIn: plainAgent, Now: noon, More: true, Accounts: accounts()[:1], Cards: []DeskCard{
			deskCard("c-ready", StateReady, nil),
			deskCard("c-team", StateReady, func(c *DeskCard) {
				c.Customer.Text, c.Shared, c.Agent, c.Changed = "Noor Jansen", true, "Kim Larsen", minutesAgo(1)
			}),
			deskCard("c-team-free", StateReady, func(c *DeskCard) { c.Customer.Text, c.Shared = "Lea Brandt", true }),
			deskCard("c-team-live", StateLive, func(c *DeskCard) { c.Customer.Text, c.Shared, c.By = "Kim Larsen", true, "Dana <b>Fox</b>" }),
			deskCard("c-team-away", StateOffline, func(c *DeskCard) { c.Customer.Text, c.Shared, c.By, c.CanTell = "Joana Prates", true, "Dana Fox", true }),
		}},
		"operations-failed": Operations{SignedIn: operator, Note: NoteRetried, Now: noon, More: true,
			Failed: []FailedJob{
				{ID: "981", Connector: "rocketchat", Kind: "show", About: "Dana Fox", At: minutesAgo(12), Attempts: 25, Cause: "show card: rocketchat: chat.update: 403 Forbidden: error-action-not-allowed"},
				{ID: "990", Connector: "slack", Kind: "answer", About: "7 May 11:54 UTC", At: minutesAgo(2), Attempts: 6, Cause: "slack: chat.postMessage: channel_not_found", Waiting: true, Next: noon.Add(4 * time.Minute)},
				{ID: "audit:bridge", Connector: "bridge", Kind: "audit", At: minutesAgo(1), Attempts: 1, Cause: "store: disk is full", OnlyDismiss: true},
				{ID: "991", Connector: "slack", Kind: "listen", Attempts: 1, Waiting: true},
			},
			Connectors: []Health{{"rocketchat", HealthFailing, minutesAgo(14)}, {"slack", HealthOK, minutesAgo(3000)}, {"chatvisor", HealthIdle, time.Time{}}},
			Policy:     PolicyState{File: "/etc/bridge/policy.yaml", Since: minutesAgo(3000), Fault: "/etc/bridge/policy.yaml:14: unknown key \"permission\"; did you mean \"permissions\"?"}},
		"operations-fine":  Operations{SignedIn: operator, Now: noon, Connectors: healthy, Policy: PolicyState{File: "policy.yaml", Since: minutesAgo(3000)}},
		"operations-fresh": Operations{SignedIn: SignedInAgent{Agent: sam, CanOperate: true}, Now: noon},
		"audit":            Audit{SignedIn: operator, Now: noon, Actions: []string{"asked", "watching", "ended", "erased"}, Records: records(), Older: 4002},
		"audit-filtered": Audit{SignedIn: operator, Now: noon, Actions: []string{"asked", "watching"}, Records: records()[:1], Before: 4500, Older: 4127,
			Filter: AuditFilter{Agent: sam.ID, Action: "watching", Since: "2031-05-01", Until: "2031-05-07"}},
		"audit-none":        Audit{SignedIn: operator, Note: NoteFilter, Now: noon, Filter: AuditFilter{Visitor: "ZZ"}},
		"audit-none-so-far": Audit{SignedIn: operator, Now: noon, Filter: AuditFilter{Visitor: "ZZ"}, Older: 4002},
		"audit-empty":       Audit{SignedIn: operator, Now: noon},

		"erase":              Erase{SignedIn: operator},
		"erase-invalid":      erase(func(e *Erase) { e.Kind, e.ID, e.Invalid = EraseVisitor, "AB 12", true }),
		"erase-confirm":      erase(func(e *Erase) { e.Found = found }),
		"erase-nothing":      erase(func(e *Erase) { e.Found = &EraseCounts{} }),
		"erase-nothing-here": erase(func(e *Erase) { e.Upscope, e.Found = false, &EraseCounts{} }),
		"erase-here":         erase(func(e *Erase) { e.Upscope, e.Found = false, found }),
		"erase-done":         erase(func(e *Erase) { e.Receipt = receipt(EraseDone, "") }),
		"erase-pending": erase(func(e *Erase) {
			e.Receipt = receipt(ErasePending, "The customer is online. Upscope deletes customers only while they are offline.")
		}),
		"erase-failed": erase(func(e *Erase) {
			e.Receipt = receipt(EraseFailed, "Several customers at Upscope have this ID. Delete each by its short ID.")
			e.Receipt.Retryable = true
		}),
		"connect":           Connect{Path: "/w/k3yk3yk3y", Agent: sam, Service: "Slack", Account: "@sam.okoro", Chat: chat, CanSignOut: true},
		"connect-nameless":  Connect{Path: "/w/k3yk3yk3y", Agent: Agent{ID: "header:sam"}},
		"desk-note-unknown": Desk{SignedIn: plainAgent, CanLookUp: true, Now: noon, Note: "no such note"},
	}
	for _, note := range []Note{NoteNoCustomer, NoteWaiting, NoteRetryGone} { // one of each look
		pages["desk-note-"+string(note)] = Desk{SignedIn: plainAgent, CanLookUp: true, Now: noon, Note: note}
	}
	return pages
}
