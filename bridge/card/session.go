package card

import (
	"slices"
	"time"

	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// RepeatLife is how long a second press counts as a repeat of the first. This process keeps the
// answer in memory for that time, and gives it to the repeat.
const RepeatLife = 3 * time.Second

const (
	// UnusedLinkLife is how long a watch link may stay unused before its card offers another.
	UnusedLinkLife = 10 * time.Minute
	// MaxSessionLife is after what time a live session without a reported end counts as lost.
	MaxSessionLife = 12 * time.Hour
	unansweredLife = time.Hour // the same for a session that never was live
	// lateDetailsWait is how long after the end Upscope may report rating, notes and recording.
	lateDetailsWait = 10 * time.Minute
	recordingWait   = time.Hour // used instead while Upscope makes the recording

	maxSessions = 20 // of one card
	maxAgents   = 20 // of one session
	maxNotes    = 5
	maxRating   = 5
)

// A Session is what a card keeps of an Upscope session.
type Session struct {
	ID      string    `json:"id"`
	Visitor string    `json:"visitor"` // the short id
	Started time.Time `json:"started,omitzero"`
	// Guessed says that Started is when the session was first seen, because Upscope did not report it.
	Guessed bool      `json:"guessed,omitempty"`
	Ended   time.Time `json:"ended,omitzero"`
	Live    bool      `json:"live,omitempty"`   // an agent saw the screen
	Agreed  bool      `json:"agreed,omitempty"` // the visitor allowed it
	// Lost says that Upscope never reported the end.
	Lost        bool           `json:"lost,omitempty"`
	Seconds     int            `json:"seconds,omitzero"`
	Agents      []string       `json:"agents,omitempty"`
	Rating      *float64       `json:"rating,omitempty"`    // nil if there is none
	Notes       []upscope.Note `json:"notes,omitempty"`     // By is the agent's name, empty if unknown
	Recording   string         `json:"recording,omitempty"` // its address; it needs an Upscope login
	VideoStatus string         `json:"video,omitempty"`     // Upscope's status of the recording, such as "ready"
}

// SessionOf returns what a card keeps of s.
func SessionOf(s upscope.Session) Session {
	kept := Session{
		ID: s.ID, Visitor: s.VisitorID, Started: s.StartedAt, Ended: s.EndedAt, Live: s.WentLive, Agreed: s.Authorized,
		Seconds: s.LengthSeconds, VideoStatus: s.VideoStatus,
	}
	for _, n := range s.AgentNotes[:min(len(s.AgentNotes), maxNotes)] {
		kept.Notes = append(kept.Notes, upscope.Note{Text: n.Text, By: agentName(s.Agents, n.By)})
	}
	if r := s.VisitorAgentRating; r != nil && *r >= 0 && *r <= maxRating {
		kept.Rating = r
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

// agentName returns the name of the agent of a session with this id of Upscope, or "".
func agentName(agents []upscope.Agent, id string) string {
	i := slices.IndexFunc(agents, func(a upscope.Agent) bool { return a.ID == id })
	if i < 0 {
		return ""
	}
	return agents[i].Name
}

// Over reports whether the session ended or counts as lost.
func (s Session) Over() bool { return s.Lost || !s.Ended.IsZero() }

// limit returns when the bridge stops waiting for the session's end.
func (s Session) limit() time.Time {
	if s.Live {
		return s.Started.Add(MaxSessionLife)
	}
	return s.Started.Add(unansweredLife)
}

// Outcome returns how the session ended, or how far it has come.
func (s Session) Outcome() templates.Outcome {
	switch {
	case s.Lost:
		return templates.Unknown
	case s.Over() && s.Live:
		return templates.Over
	case s.Over() && !s.Agreed:
		return templates.Declined
	case s.Over():
		return templates.NotBegun
	case s.Live:
		return templates.Running
	}
	return templates.Waiting
}

// Latest returns the later of two times.
func Latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// The keys of a session's metadata.
const (
	MetadataCard  = "bridge_card"  // the signed id of the card
	MetadataAgent = "bridge_agent" // the id of the agent who pressed
)
