package templates

import (
	"html/template"
	"time"
)

// ago says how long before now t was. A future t is "just now": clocks differ.
func ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return ""
	case d < time.Minute:
		return agoNow
	case d < time.Hour:
		return agoMinutes.Of(int(d / time.Minute))
	case d < 24*time.Hour:
		return agoHours.Of(int(d / time.Hour))
	case d < 31*24*time.Hour:
		return agoDays.Of(int(d / (24 * time.Hour)))
	}
	return agoOnDay.Plain(values{"day": t.UTC().Format("2 January 2006")})
}

// A moment is a time as pages show it. The zero moment shows nothing.
type moment struct {
	Ago     string // "12 minutes ago", or "12 minutes" from startOf
	Exact   string // "6 May 2031, 11:48:00 UTC"
	Machine string // RFC 3339
}

// momentOf returns t relative to now. If now is zero, Ago is the same as Exact.
func momentOf(now, t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	t = t.UTC()
	m := moment{ago(now, t), t.Format("2 Jan 2006, 15:04:05 UTC"), t.Format(time.RFC3339)}
	if now.IsZero() {
		m.Ago = m.Exact
	}
	return m
}

// startOf is like momentOf for the start of something that still lasts.
func startOf(now, t time.Time) moment {
	m := momentOf(now, t)
	switch d := now.Sub(t); {
	case t.IsZero():
	case d < time.Minute:
		m.Ago = lessThanAMinute
	case d < time.Hour:
		m.Ago = forMinutes.Of(int(d / time.Minute))
	case d < 48*time.Hour:
		m.Ago = forHours.Of(int(d / time.Hour))
	default:
		m.Ago = forDays.Of(int(d / (24 * time.Hour)))
	}
	return m
}

// Plain is the moment in a message.
func (m moment) Plain() string { return m.Ago }

// HTML is the moment as an element that shows the exact time on hover.
func (m moment) HTML() template.HTML {
	return template.HTML(`<time datetime="` + m.Machine + `" title="` + m.Exact + `">` + m.Ago + `</time>`)
}

// span is a wait in words, rounded up: "2 minutes".
func span(d time.Duration) string {
	up := func(unit time.Duration) int { return int((d + unit - 1) / unit) }
	switch {
	case d <= 59*time.Second:
		return forSeconds.Of(up(time.Second))
	case d <= 59*time.Minute:
		return forMinutes.Of(up(time.Minute))
	}
	return forHours.Of(up(time.Hour))
}
