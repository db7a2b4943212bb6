package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"cobrowse-bridge/bridge/benchtest"
)

// options are the flags.
type options struct {
	bridge   string // path of the program
	postgres string // address of a server
	only     []string
	scale    float64
	replicas []int
	chats    int // open ones
	cards    int // of each agent
	desks    []int
	delay    time.Duration // of the chat service and Upscope
}

// A run is a site on one database, and where its tables are printed.
type run struct {
	options
	*site
	out io.Writer
}

// A part measures one thing and prints a table.
type part struct {
	name    string
	title   string
	engines string // on which databases it runs unless -database says otherwise
	fresh   bool   // it runs on a new site, so that the parts before it have no influence
	do      func(r *run, ctx context.Context) error
}

var parts = []part{
	{"idle", "A bridge without chats", "sqlite postgres", false, (*run).idle},
	{"burst", "A burst of new chats", "sqlite", false, (*run).aBurst},
	{"webhooks", "Webhooks, with 5 presses a second", "sqlite", false, (*run).webhooks},
	{"desks", "Open desks", "sqlite", true, (*run).openPages},
	{"all", "200 webhooks and 5 presses a second beside open desks", "sqlite", false, (*run).everything},
	{"sessions", "Presses, and how often Upscope's sessions are listed", "sqlite", true, (*run).sessions},
	{"replicas", "Replicas, with 5 presses a second", "postgres", false, (*run).scaled},
}

// lasts returns the duration of a measurement at the scale of this run.
func (r *run) lasts(seconds float64) time.Duration {
	return time.Duration(seconds * r.scale * float64(time.Second))
}

func (r *run) print(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

// row prints a row of a table.
func (r *run) row(cells ...any) {
	var texts []string
	for _, cell := range cells {
		switch cell := cell.(type) {
		case float64:
			digits := 1
			if cell != 0 && math.Abs(cell) < 1 {
				digits = 3
			}
			texts = append(texts, fmt.Sprintf("%.*f", digits, cell))
		default:
			texts = append(texts, fmt.Sprint(cell))
		}
	}
	r.print("| %s |", strings.Join(texts, " | "))
}

// table prints the head of a table.
func (r *run) table(titles ...any) {
	r.print("")
	r.row(titles...)
	r.print("|%s", strings.Repeat(" --- |", len(titles)))
}

// per returns n divided by d, and 0 for nothing.
func per(n, d float64) float64 {
	if d == 0 {
		return 0
	}
	return n / d
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.0f MB", float64(bytes)/1e6) }

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// sentText says how many webhooks were sent, and what was not reached.
func (m measurement) sentText() string {
	text := fmt.Sprintf("%.1f", per(float64(m.sent), m.lasted.Seconds()))
	if m.sent < m.offered {
		text += fmt.Sprintf(" (offered %.1f)", per(float64(m.offered), m.lasted.Seconds()))
	}
	return text + others(m.webhookStatuses, 200)
}

// left says what was not done when the load ended, and how long it took after that.
func (m measurement) left() string {
	oldest := fmt.Sprintf("%.1f s", m.oldest)
	if math.IsInf(m.oldest, 1) {
		oldest = "an unknown time"
	}
	switch {
	case m.unfinished:
		return fmt.Sprintf("grows: %d cards and %s, not done after %.0f s more", m.withoutCard, oldest, m.finishing.Seconds())
	case m.oldest < 1 && m.finishing < time.Second:
		return "none"
	}
	return fmt.Sprintf("%d cards and %s, done after %.1f s more", m.withoutCard, oldest, m.finishing.Seconds())
}

func (m measurement) pressText() string {
	return milliseconds(m.presses, 50, 95) + others(m.pressStatuses, 303)
}

func (r *run) idle(ctx context.Context) error {
	m, err := r.measure(ctx, r.lasts(15), load{}, nil)
	if err != nil {
		return err
	}
	r.table("CPU of the bridge, share of a core", "CPU of PostgreSQL, share of a core", "memory")
	r.row(percent(m.bridgeCPU/m.lasted.Seconds()), percent(m.serverCPU/m.lasted.Seconds()), megabytes(m.memory))
	return nil
}

// aBurst opens all chats of the site at once. Agents press cards that were there before.
func (r *run) aBurst(ctx context.Context) error {
	before := min(200, max(1, r.chats/25))
	if err := r.openChats(ctx, before, 3*time.Minute); err != nil {
		return err
	}
	n := r.chats - r.chat.openRooms()
	r.chat.resetTimes()
	pressing, stop := context.WithCancel(ctx)
	presses := &counter{statuses: map[int]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		repeat(pressing, 5, func(int) func() { return r.pressing(ctx, presses, before) })
	}()
	cpu, began := r.cpu(), time.Now()
	if err := r.burst(ctx, n); err != nil {
		stop()
		return err
	}
	accepted := time.Since(began)
	_, err := r.finish(ctx, 4*time.Minute)
	all := time.Since(began)
	stop()
	<-done
	if err != nil {
		return fmt.Errorf("%d chats have no card: %w", r.chat.withoutCard(), err)
	}
	cards := r.chat.times()
	r.table("chats", "webhooks answered after", "first card", "webhook→card p50 / p95 / p99 ms", "all cards after", "press p50 / p95 ms during it", "CPU-s per 1,000 chats", "memory")
	r.row(n, fmt.Sprintf("%.1f s", accepted.Seconds()), fmt.Sprintf("%d ms", benchtest.Percentile(cards, 0).Milliseconds()), milliseconds(cards, 50, 95, 99),
		fmt.Sprintf("%.1f s", all.Seconds()), milliseconds(presses.took, 50, 95)+others(presses.statuses, 303), per(1000*(r.cpu()-cpu), float64(n)), megabytes(r.memory()))
	return nil
}

func (r *run) webhooks(ctx context.Context) error {
	if err := r.openChats(ctx, r.chats, 4*time.Minute); err != nil {
		return err
	}
	sizes, err := r.sizes(ctx)
	if err != nil {
		return err
	}
	sent := 0
	r.table("webhooks/s offered", "sent", "presses/s", "CPU-s per 1,000 webhooks", "webhook→card p50 / p95 / p99 ms", "press p50 / p95 ms", "left at the end", "calls per chat life: chat service, Upscope", "memory")
	for _, l := range []load{{webhooks: 20}, {webhooks: 20, presses: 5}, {webhooks: 50, presses: 5}, {webhooks: 100, presses: 5}, {webhooks: 200, presses: 5}} {
		m, err := r.measure(ctx, r.lasts(20), l, nil)
		if err != nil {
			return err
		}
		sent += m.sent
		lives := float64(m.sent) / chatLife
		calls := fmt.Sprintf("%.1f, %.1f", per(float64(m.chatCalls), lives), per(float64(m.upscopeCalls), lives))
		r.row(l.webhooks, m.sentText(), l.presses, per(1000*m.bridgeCPU, float64(m.sent)), milliseconds(m.cards, 50, 95, 99), m.pressText(), m.left(), calls, megabytes(m.memory))
	}
	return r.growth(ctx, sizes, sent)
}

// growth prints by how much the tables have grown since before, for 1,000 lives of chats.
func (r *run) growth(ctx context.Context, before []tableSize, sent int) error {
	after, err := r.sizes(ctx)
	if err != nil {
		return err
	}
	was, all := map[string]int64{}, int64(0)
	for _, t := range before {
		was[t.name] = t.bytes
	}
	r.table("table, with its indexes", "MB per 1,000 chats")
	for _, t := range after {
		grown := t.bytes - was[t.name]
		if all += grown; grown > 100_000 {
			r.row(t.name, per(float64(grown)/1e6*1000*chatLife, float64(sent)))
		}
	}
	r.row("all tables", per(float64(all)/1e6*1000*chatLife, float64(sent)))
	return nil
}

func (r *run) everything(ctx context.Context) error {
	if err := r.openChats(ctx, r.chats, 4*time.Minute); err != nil {
		return err
	}
	d, err := r.openDesks(ctx, r.desks[len(r.desks)/2])
	if err != nil {
		return err
	}
	defer d.close()
	m, err := r.measure(ctx, r.lasts(20), load{webhooks: 200, presses: 5}, d)
	if err != nil {
		return err
	}
	d.finish(r.lasts(30))
	state := d.state()
	r.table("webhooks/s sent", "open desks", "CPU-s per 1,000 webhooks", "webhook→card p50 / p95 / p99 ms", "press p50 / p95 ms", "chat closed→desk updated p50 / p95 ms", "left at the end", "memory")
	r.row(m.sentText(), state.openText(), per(1000*m.bridgeCPU, float64(m.sent)), milliseconds(m.cards, 50, 95, 99), m.pressText(), state.updatedText(), m.left(), megabytes(m.memory))
	return nil
}

func (s deskState) openText() string {
	text := fmt.Sprintf("%d", s.open)
	if s.ended > 0 {
		text += fmt.Sprintf(", %d ended (%v)", s.ended, s.fault)
	}
	return text
}

func (s deskState) updatedText() string {
	text := milliseconds(s.updated, 50, 95)
	if s.missing > 0 {
		text += fmt.Sprintf(", %d of %d not updated", s.missing, s.endings)
	}
	return text
}

func (r *run) openPages(ctx context.Context) error {
	if err := r.openChats(ctx, r.chats, 4*time.Minute); err != nil {
		return err
	}
	r.table("open desks", "cards on each", "idle: CPU, share of a core", "idle: events per desk and minute", "idle: kB per desk and minute", "memory", "memory per stream", "with 20 webhooks/s: CPU, share of a core", "webhooks/s sent", "chat closed→desk updated p50 / p95 ms", "webhook→card p50 / p95 ms", "left at the end")
	var without int64
	for _, n := range r.desks {
		d, err := r.openDesks(ctx, n)
		if err != nil {
			return err
		}
		d.state()
		idle, err := r.measure(ctx, r.lasts(10), load{}, d)
		if err != nil {
			d.close()
			return err
		}
		quiet := d.state()
		busy, err := r.measure(ctx, r.lasts(10), load{webhooks: 20, closes: 2}, d)
		if err != nil {
			d.close()
			return err
		}
		d.finish(r.lasts(30))
		state := d.state()
		d.close()
		each := "–"
		if n > 0 {
			each = fmt.Sprintf("%.0f kB", float64(idle.memory-without)/1e3/float64(n))
		} else {
			without = idle.memory
		}
		minutes := float64(max(1, n)) * idle.lasted.Minutes()
		r.row(state.openText(), state.cards, percent(idle.bridgeCPU/idle.lasted.Seconds()), float64(quiet.events)/minutes, float64(quiet.bytes)/1e3/minutes, megabytes(idle.memory), each,
			percent(busy.bridgeCPU/(busy.lasted+busy.finishing).Seconds()), busy.sentText(), state.updatedText(), milliseconds(busy.cards, 50, 95), busy.left())
	}
	return nil
}

// sessions measures one rate of presses after the other without a pause.
func (r *run) sessions(ctx context.Context) error {
	if err := r.openChats(ctx, max(1, r.chats/5), 4*time.Minute); err != nil {
		return err
	}
	r.table("presses/s", "sent", "lists of sessions per minute", "calls to Upscope per minute", "press p50 / p95 ms", "CPU, share of a core")
	for _, presses := range []float64{0, 1, 5, 10, 20} {
		m, err := r.measure(ctx, r.lasts(20), load{presses: presses}, nil)
		if err != nil {
			return err
		}
		lasted := m.lasted + m.finishing
		r.row(presses, per(float64(m.pressed), m.lasted.Seconds()), float64(m.sessionLists)/lasted.Minutes(), float64(m.upscopeCalls)/lasted.Minutes(), m.pressText(), percent(m.bridgeCPU/lasted.Seconds()))
	}
	return nil
}

// scaled measures the same load with several replicas on one database.
func (r *run) scaled(ctx context.Context) error {
	if err := r.openChats(ctx, r.chats/2, 4*time.Minute); err != nil {
		return err
	}
	sizes, err := r.sizes(ctx)
	if err != nil {
		return err
	}
	sent := 0
	r.table("replicas", "webhooks/s offered", "sent", "webhook→card p50 / p95 / p99 ms", "press p50 / p95 ms", "CPU-s of the bridges", "CPU-s of PostgreSQL", "webhooks per CPU-second of both", "statement time that waits for locks", "left at the end", "memory of all")
	for _, n := range r.replicas {
		if err := r.runReplicas(ctx, n); err != nil {
			return err
		}
		for _, webhooks := range []float64{100, 200} {
			m, err := r.measure(ctx, r.lasts(15), load{webhooks: webhooks, presses: 5}, nil)
			if err != nil {
				return err
			}
			sent += m.sent
			r.row(n, webhooks, m.sentText(), milliseconds(m.cards, 50, 95, 99), m.pressText(), m.bridgeCPU, m.serverCPU, per(float64(m.sent), m.bridgeCPU+m.serverCPU), percent(m.lockShare), m.left(), megabytes(m.memory))
		}
	}
	if err := r.runReplicas(ctx, 1); err != nil {
		return err
	}
	return r.growth(ctx, sizes, sent)
}
