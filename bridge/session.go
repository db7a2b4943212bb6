package bridge

import (
	"cmp"
	"slices"
	"time"

	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

const (
	// noShow is how long a watch link may stay unused before its card offers
	// another; noAnswer how long a session may wait for its visitor, and noEnd
	// how long it may run, before nobody believes any more that its end was told.
	noShow   = 10 * time.Minute
	noAnswer = time.Hour
	noEnd    = 12 * time.Hour
	// afterthoughts is how long rating, notes and recording may come after the
	// end, and cutting how long if the recording is being made.
	afterthoughts = 10 * time.Minute
	cutting       = time.Hour

	maxSessions = 20 // of one card
	maxAgents   = 20 // of one session
	maxNotes    = 5
	maxRating   = 5
)

// A session is what a card keeps of an Upscope session.
type session struct {
	ID      string    `json:"id"`
	Visitor string    `json:"visitor"` // the short id
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Live says that somebody saw the screen, Agreed that the visitor let them.
	Live   bool `json:"live,omitempty"`
	Agreed bool `json:"agreed,omitempty"`
	// Lost says that the end was never told.
	Lost      bool           `json:"lost,omitempty"`
	Seconds   int            `json:"seconds,omitzero"`
	Agents    []string       `json:"agents,omitempty"`
	Rating    int            `json:"rating,omitzero"`
	Notes     []upscope.Note `json:"notes,omitempty"`
	Recording string         `json:"recording,omitempty"` // for those who sign in to Upscope
	Video     string         `json:"video,omitempty"`
}

func sessionOf(s upscope.Session) session {
	kept := session{
		ID: s.ID, Visitor: s.VisitorID, Started: s.StartedAt, Ended: s.EndedAt, Live: s.WentLive, Agreed: s.Authorized,
		Seconds: s.LengthSeconds, Video: s.VideoStatus,
	}
	if n := min(len(s.AgentNotes), maxNotes); n > 0 {
		kept.Notes = s.AgentNotes[:n]
	}
	if s.VisitorAgentRating <= maxRating {
		kept.Rating = s.VisitorAgentRating
	}
	if s.VideoStatus == "ready" {
		kept.Recording = s.PublicVideoURL
	}
	for _, a := range s.Agents {
		if a.Name != "" && !slices.Contains(kept.Agents, a.Name) && len(kept.Agents) < maxAgents {
			kept.Agents = append(kept.Agents, a.Name)
		}
	}
	return kept
}

func (s session) over() bool { return s.Lost || !s.Ended.IsZero() }

// limit is when nobody believes any more that the session's end was told.
func (s session) limit() time.Time {
	if s.Live {
		return s.Started.Add(noEnd)
	}
	return s.Started.Add(noAnswer)
}

func (s session) outcome() templates.Outcome {
	switch {
	case s.Lost:
		return templates.Unknown
	case s.over() && s.Live:
		return templates.Over
	case s.over() && !s.Agreed:
		return templates.Declined
	case s.over():
		return templates.NotBegun
	case s.Live:
		return templates.Running
	}
	return templates.Waiting
}

// led says that an agent is being led to the visitor.
func (c *card) led(now time.Time) {
	c.move(watched)
	c.about.Pressed = now
	if c.Awaited.Before(now.Add(noShow)) {
		c.Awaited = now.Add(noShow)
	}
}

// ledJustNow reports whether the agent who acts was led to the visitor from this card, in the
// browser with this token, less than repeatLife ago. A browser that returned no cookie then
// may return one now. Clocks of replicas differ a little.
func (c *card) ledJustNow(browser string, now time.Time) bool {
	return now.Sub(c.about.Pressed).Abs() < repeatLife && c.ledBy() == c.actor() &&
		(c.about.PressedIn == "" || c.about.PressedIn == browserPrint(browser))
}

// ledBy is who was led to the visitor last; it means nothing before the first press.
func (c *card) ledBy() string { return cmp.Or(c.about.ByID, c.Agent) }

// ownSession reports whether the agent who acts was led to the visitor last, and a session
// that came of it may be running.
func (c *card) ownSession() bool {
	return c.Visitor != "" && c.stoppable() && c.ledBy() == c.actor()
}

// watches reports whether a running session with the visitor is one of the agent who acts.
// Upscope says so with the visitor. If it tells of no session yet, the card's last press does.
func (c *card) watches(v upscope.Visitor, now time.Time) bool {
	for _, s := range v.Sessions {
		by, _ := s.Metadata[agentName].(string)
		if by == c.actor() || slices.ContainsFunc(s.Agents, func(a upscope.Agent) bool { return a.ExternalID == c.actor() }) {
			return true
		}
	}
	return len(v.Sessions) == 0 && c.ownSession() && (c.state() == Live || now.Sub(c.about.Pressed) < noShow)
}

// watching are the names of the agents who watch the visitor now, as far as is known.
func (c *card) watching(v upscope.Visitor) (names []string) {
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, s := range v.Sessions {
		for _, a := range s.Agents {
			add(a.Name)
		}
	}
	if len(v.Sessions) > 0 {
		return names
	}
	for _, s := range c.about.Sessions {
		if !s.over() {
			for _, name := range s.Agents {
				add(name)
			}
		}
	}
	return names
}

// notLed takes it back: no session came of it.
func (c *card) notLed() {
	if len(c.about.Sessions) > 0 {
		c.move(sessionOver)
	} else {
		c.move(notWatched)
		if len(c.about.Choices) > 0 {
			c.move(foundSeveral)
		}
	}
}

// learn takes into the card what Upscope says of one of its sessions.
func (c *card) learn(s session, now time.Time) {
	all := slices.Clone(c.about.Sessions)
	i := slices.IndexFunc(all, func(known session) bool { return known.ID == s.ID })
	switch {
	case i >= 0:
		if s.Started.IsZero() {
			s.Started = all[i].Started
		}
		all[i] = s
	case len(all) == maxSessions && s.Started.Before(all[0].Started):
		return // older than all that are kept
	default:
		if s.Started.IsZero() {
			s.Started = now
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b session) int { return a.Started.Compare(b.Started) })
	c.about.Sessions = all[max(0, len(all)-maxSessions):]
	c.account(now)
}

// account brings the card to what its sessions say together.
func (c *card) account(now time.Time) {
	var ended, limit time.Time
	live, cut := false, false
	for _, s := range c.about.Sessions {
		switch {
		case !s.over():
			live = live || s.Live
			limit = latest(limit, s.limit())
		case s.Ended.After(ended):
			ended = s.Ended
			cut = s.Video == "pending" || s.Video == "recording"
		}
	}
	pressed := c.about.Pressed.Add(noShow)
	switch {
	case live:
		c.move(sessionLive)
		c.Awaited = latest(limit, pressed)
	case !limit.IsZero():
		c.Awaited = latest(limit, pressed)
	case c.state() == Opened && c.about.Pressed.After(ended) && pressed.After(now):
		c.Awaited = pressed // once more, and that session is yet to come
	default:
		c.move(sessionOver)
		switch {
		case ended.IsZero(): // lost, all of them
			c.Awaited = time.Time{}
		case cut:
			c.Awaited = ended.Add(cutting)
		default:
			c.Awaited = ended.Add(afterthoughts)
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lapse ends the waiting for what did not come.
func (c *card) lapse(now time.Time) {
	c.about.Sessions = slices.Clone(c.about.Sessions)
	for i := range c.about.Sessions {
		if s := &c.about.Sessions[i]; !s.over() && !now.Before(s.limit()) {
			s.Lost = true
		}
	}
	if len(c.about.Sessions) == 0 {
		c.notLed()
	} else {
		c.account(now)
	}
	if !c.Awaited.After(now) {
		c.Awaited = time.Time{}
	}
}

// running are the visitors of the card's sessions that are not over.
func (c *card) running() (visitors []string) {
	for _, s := range c.about.Sessions {
		if !s.over() && s.Visitor != "" && !slices.Contains(visitors, s.Visitor) {
			visitors = append(visitors, s.Visitor)
		}
	}
	return visitors
}
