package main

import (
	"net/http"
	"os"
	"testing"
	"time"
)

// No assertion depends on how fast the machine is: the test counts, and waits long for what must come.
func TestASmallSimulationLosesNothing(t *testing.T) {
	t.Parallel()
	program, err := build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			o := options{bridge: program, chats: 60, cards: 10, delay: time.Millisecond}
			database, replicas := engine, 1
			if engine == "postgres" {
				if database, replicas = os.Getenv("BRIDGE_TEST_POSTGRES"), 2; database == "" {
					t.Skip("BRIDGE_TEST_POSTGRES does not name a PostgreSQL server")
				}
			}
			testSmall(t, o, database, replicas)
		})
	}
}

const patience = 3 * time.Minute

func testSmall(t *testing.T, o options, database string, replicas int) {
	ctx := t.Context()
	s, err := newSite(ctx, o, database)
	if err != nil {
		t.Fatal(err)
	}
	defer s.end()
	if err := s.runReplicas(ctx, replicas); err != nil {
		t.Fatal(err)
	}
	if err := s.openChats(ctx, o.chats, patience); err != nil {
		t.Fatal(err)
	}
	const pages = 12
	d, err := s.openDesks(ctx, pages)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	began := time.Now()
	m, err := s.measure(ctx, 3*time.Second, load{webhooks: 40, presses: 3, closes: 2}, d)
	if err != nil {
		t.Fatal(err)
	}
	s.running.Wait()
	if _, err := s.finish(ctx, patience); err != nil {
		t.Errorf("%v: %d chats have no card", err, s.chat.withoutCard())
	}
	d.finish(patience)

	if text := others(m.webhookStatuses, http.StatusOK); text != "" || m.webhookStatuses[http.StatusOK] < m.sent || m.sent == 0 {
		t.Errorf("%d webhooks, %d answered 200%s", m.sent, m.webhookStatuses[http.StatusOK], text)
	}
	if text := others(m.pressStatuses, http.StatusSeeOther); text != "" || m.pressStatuses[http.StatusSeeOther] != m.pressed || m.pressed == 0 {
		t.Errorf("%d presses, %d led to the screen%s", m.pressed, m.pressStatuses[http.StatusSeeOther], text)
	}
	for _, fault := range s.chat.faults() {
		t.Error(fault)
	}
	state := d.state()
	if state.open != pages || state.ended != 0 || state.cards == 0 {
		t.Errorf("%d of %d desks were shown, with %.1f cards, and %d ended", state.open, pages, state.cards, state.ended)
	}
	if state.endings == 0 || state.missing != 0 {
		t.Errorf("of %d updates of desks after the end of a chat %d did not come", state.endings, state.missing)
	}
	// Each session is listed after its end, and by each replica every 15 s while one is awaited.
	_, lists := s.upscopeCalls()
	if limit := m.pressed + replicas*(2+int(time.Since(began)/(15*time.Second))); lists > limit {
		t.Errorf("sessions were listed %d times after %d presses, want at most %d", lists, m.pressed, limit)
	}
	t.Logf("%d webhooks, %d presses, %d lists of sessions, %d updates of desks in %v", m.sent, m.pressed, lists, state.endings, time.Since(began).Round(time.Second))
}
