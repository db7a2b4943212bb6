package card

import (
	"cmp"
	"slices"
	"time"

	"cobrowse-bridge/upscope"
)

// MarkOpened records that an agent opens the screen now.
func (c *Card) MarkOpened(now time.Time) {
	c.ApplyEvent(eventOpened)
	c.About.Pressed = now
	if c.NextCheck.Before(now.Add(UnusedLinkLife)) {
		c.NextCheck = now.Add(UnusedLinkLife)
	}
}

// OpenedJustNow reports whether the agent with the id actor opened the screen within the last
// RepeatLife, in the browser with this hash or in one that had sent no cookie. Pressed may be in
// the future, since the clocks of replicas differ a little.
func (c *Card) OpenedJustNow(actor, browserHash string, now time.Time) bool {
	return now.Sub(c.About.Pressed).Abs() < RepeatLife && c.OpenedBy() == actor &&
		(c.About.PressedIn == "" || c.About.PressedIn == browserHash)
}

// OpenedBy returns the id of the agent who opened the screen last. It is valid only after a press.
func (c *Card) OpenedBy() string { return cmp.Or(c.About.ByID, c.Agent) }

// MayBeWatching reports whether the agent with the id actor opened the screen last, and their
// session may still be running.
func (c *Card) MayBeWatching(actor string) bool {
	return c.Visitor != "" && c.Stoppable() && c.OpenedBy() == actor
}

// IsWatching reports whether the agent with the id actor is in a running session with v. It looks
// at the sessions that Upscope returned with v. If there are none yet, it uses the last press.
func (c *Card) IsWatching(actor string, v upscope.Visitor, now time.Time) bool {
	for _, s := range v.Sessions {
		by, _ := s.Metadata[MetadataAgent].(string)
		if by == actor || slices.ContainsFunc(s.Agents, func(a upscope.Agent) bool { return a.ExternalID == actor }) {
			return true
		}
	}
	return len(v.Sessions) == 0 && c.MayBeWatching(actor) && (c.CurrentState() == Live || now.Sub(c.About.Pressed) < UnusedLinkLife)
}

// WatchingAgents returns the names of the agents in running sessions with the visitor, as far as
// Upscope has reported them.
func (c *Card) WatchingAgents(v upscope.Visitor) (names []string) {
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
	for _, s := range c.About.Sessions {
		if !s.Over() {
			for _, name := range s.Agents {
				add(name)
			}
		}
	}
	return names
}

// UnmarkOpened sets the state after a press from which no session began: Ended if the card has
// earlier sessions, else Ready or Choose. It does not reset Pressed and NextCheck.
func (c *Card) UnmarkOpened() {
	if len(c.About.Sessions) > 0 {
		c.ApplyEvent(eventSessionOver)
	} else {
		c.ApplyEvent(eventNotOpened)
		if len(c.About.Choices) > 0 {
			c.ApplyEvent(eventFoundSeveral)
		}
	}
}

// AddSession adds to the card a session that Upscope reported, or replaces an older report.
func (c *Card) AddSession(s Session, now time.Time) {
	all := slices.Clone(c.About.Sessions)
	i := slices.IndexFunc(all, func(k Session) bool { return k.ID == s.ID })
	switch {
	case i >= 0:
		// Neither time changes at Upscope, but each process converts it to its own clock.
		if !all[i].Guessed || s.Started.IsZero() {
			s.Started, s.Guessed = all[i].Started, all[i].Guessed
		}
		if !all[i].Ended.IsZero() {
			s.Ended = all[i].Ended
		}
		all[i] = s
	case len(all) == maxSessions && s.Started.Before(all[0].Started):
		return // older than all sessions of the card
	default:
		if s.Started.IsZero() {
			s.Started, s.Guessed = now, true
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b Session) int { return a.Started.Compare(b.Started) })
	c.About.Sessions = all[max(0, len(all)-maxSessions):]
	c.updateFromSessions(now)
}

// updateFromSessions derives State and NextCheck from the card's sessions.
func (c *Card) updateFromSessions(now time.Time) {
	var openUntil, lastEnd time.Time // of the sessions that are not over, and of the others
	live, recordingPending := false, false
	for _, s := range c.About.Sessions {
		switch {
		case !s.Over():
			live = live || s.Live
			openUntil = Latest(openUntil, s.limit())
		case s.Ended.After(lastEnd):
			lastEnd = s.Ended
			recordingPending = s.VideoStatus == "pending" || s.VideoStatus == "recording"
		}
	}
	linkUntil := c.About.Pressed.Add(UnusedLinkLife)
	if live {
		c.ApplyEvent(eventSessionLive)
	}
	if !openUntil.IsZero() {
		c.NextCheck = Latest(openUntil, linkUntil)
		return
	}
	if c.CurrentState() == Opened && c.About.Pressed.After(lastEnd) && !reached(linkUntil, now) {
		c.NextCheck = linkUntil // an agent pressed again; that session has not begun
		return
	}
	c.ApplyEvent(eventSessionOver)
	switch {
	case lastEnd.IsZero(): // all sessions are lost
		c.NextCheck = time.Time{}
	case recordingPending:
		c.NextCheck = lastEnd.Add(recordingWait)
	default:
		c.NextCheck = lastEnd.Add(lateDetailsWait)
	}
}

func reached(t, now time.Time) bool { return !now.Before(t) }

// Expire marks sessions without a reported end as lost. A card that was opened without a session
// gets the state of UnmarkOpened.
func (c *Card) Expire(now time.Time) {
	c.About.Sessions = slices.Clone(c.About.Sessions)
	for i := range c.About.Sessions {
		if s := &c.About.Sessions[i]; !s.Over() && reached(s.limit(), now) {
			s.Lost = true
		}
	}
	if len(c.About.Sessions) == 0 {
		c.UnmarkOpened()
	} else {
		c.updateFromSessions(now)
	}
	if reached(c.NextCheck, now) {
		c.NextCheck = time.Time{}
	}
}

// VisitorsInSession returns the short ids of the visitors of the card's sessions that are not over.
func (c *Card) VisitorsInSession() (visitors []string) {
	for _, s := range c.About.Sessions {
		if !s.Over() && s.Visitor != "" && !slices.Contains(visitors, s.Visitor) {
			visitors = append(visitors, s.Visitor)
		}
	}
	return visitors
}
