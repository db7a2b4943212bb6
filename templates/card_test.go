package templates

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOnlyCardsWithSomethingToOpenHaveAButton(t *testing.T) {
	for state, want := range map[string]string{
		StateNoVisitor: "Check again",
		StateChoose:    "Choose customer",
		StateOffline:   "Check again",
		StateReady:     "Co-browse",
		StateOpened:    "Open again",
		StateClosed:    "",
		StateMoved:     "",
		StateFailed:    "Check again",
	} {
		if got := (Card{State: state}).Text().Button; got != want {
			t.Errorf("%s: button %q, want %q", state, got, want)
		}
	}
}

func TestACardOfAnUnknownStateReadsAsFailed(t *testing.T) {
	if got, want := asMessage(Card{State: "new"}.Text()), asMessage(Card{State: StateFailed}.Text()); got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

func TestACardShortensAddresses(t *testing.T) {
	for page, want := range map[string]string{
		"https://shop.example/checkout?token=s3cr3t#x":     "shop.example/checkout",
		"https://ann:pw@shop.example/":                     "shop.example",
		"shop.example":                                     "shop.example",
		"http://localhost:8080/a/b":                        "localhost:8080/a/b",
		"https://shop.example/" + strings.Repeat("x", 200): "shop.example/" + strings.Repeat("x", maxFact-13) + "…",
	} {
		lines := Card{State: StateReady, Page: page}.Text().Lines
		if !slices.Equal(lines, []Line{{"Page", want}}) {
			t.Errorf("%s: lines %q", page, lines)
		}
	}
}

func TestTimesAgoUseTheLargestUnit(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour:                "just now", // clocks differ
		0:                         "just now",
		59 * time.Second:          "just now",
		time.Minute:               "1 minute ago",
		119 * time.Minute:         "1 hour ago",
		24*time.Hour - 1:          "23 hours ago",
		24 * time.Hour:            "1 day ago",
		30 * 24 * time.Hour:       "30 days ago",
		31 * 24 * time.Hour:       "on 5 April 2031",
		20 * 365 * 24 * time.Hour: "on 11 May 2011",
	} {
		if got := ago(noon, noon.Add(-d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := ago(noon, time.Time{}); got != "" {
		t.Errorf("never seen: %q", got)
	}
}
