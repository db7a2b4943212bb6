package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
)

const (
	// alarmAhead limits how many alarms are set at once.
	alarmAhead = time.Hour

	// alarmDelay is more than a millisecond, to which River rounds the time of a job.
	alarmDelay = 2 * time.Millisecond

	// insertTopic is the topic to which River's producers listen. A message has the name of
	// a queue.
	insertTopic = "river_insert"
)

// An Alarm tells River's clients in this process which queues have jobs that are due. River
// finds by polling: jobs that another process inserted, jobs from before a restart, and jobs
// due later than alarmAhead. River's own messages are not used. On SQLite they are a table that
// is read twenty times a second. On PostgreSQL they need a connection that LISTENs, which
// PgBouncer in transaction mode does not allow (pgbouncer.org/features.html).
type Alarm struct {
	mu        sync.Mutex
	listeners map[*listener]bool
}

// Ring tells all listeners at the given time that queue has a job that is due.
func (a *Alarm) Ring(queue string, at time.Time) {
	wait := time.Until(at)
	switch {
	case wait > alarmAhead:
		// River's polling finds it.
	case wait > 0:
		time.AfterFunc(wait+alarmDelay, func() { a.ringNow(queue) })
	default:
		a.ringNow(queue)
	}
}

func (a *Alarm) ringNow(queue string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for l := range a.listeners {
		l.due[queue] = true
		select {
		case l.rang <- struct{}{}:
		default:
		}
	}
}

// Due collects the jobs of a transaction, for which the alarm rings after the commit.
type Due map[dueJobs]struct{}

type dueJobs struct {
	queue string
	at    time.Time
}

// Add adds jobs that start at the given time. An empty queue is River's default.
func (d *Due) Add(queue string, at time.Time) {
	if *d == nil {
		*d = Due{}
	}
	(*d)[dueJobs{cmp.Or(queue, river.QueueDefault), at}] = struct{}{}
}

// RingAll rings for all jobs in due.
func (a *Alarm) RingAll(due Due) {
	for d := range due {
		a.Ring(d.queue, d.at)
	}
}

// Alarmed is a driver of River with an alarm instead of River's messages.
type Alarmed[T any] struct {
	riverdriver.Driver[T]
	*Alarm
}

// SupportsListener implements riverdriver.Driver.
func (Alarmed[T]) SupportsListener() bool { return true }

// SupportsListenNotify returns false, so that River sends no messages.
func (Alarmed[T]) SupportsListenNotify() bool { return false }

// GetListener implements riverdriver.Driver.
func (d Alarmed[T]) GetListener(p *riverdriver.GetListenenerParams) riverdriver.Listener {
	return &listener{alarm: d.Alarm, schema: p.Schema, due: map[string]bool{}, rang: make(chan struct{}, 1)}
}

// A listener passes the alarm to one client of River.
type listener struct {
	alarm  *Alarm
	schema string
	due    map[string]bool // guarded by alarm.mu
	rang   chan struct{}   // has a value when due may not be empty
}

// Connect implements riverdriver.Listener.
func (l *listener) Connect(context.Context) error {
	l.alarm.mu.Lock()
	defer l.alarm.mu.Unlock()
	if l.alarm.listeners == nil {
		l.alarm.listeners = map[*listener]bool{}
	}
	l.alarm.listeners[l] = true
	return nil
}

// Close implements riverdriver.Listener.
func (l *listener) Close(context.Context) error {
	l.alarm.mu.Lock()
	defer l.alarm.mu.Unlock()
	delete(l.alarm.listeners, l)
	return nil
}

// WaitForNotification implements riverdriver.Listener.
func (l *listener) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if queue, ok := l.next(); ok {
			payload, err := json.Marshal(map[string]string{"queue": queue})
			return &riverdriver.Notification{Topic: insertTopic, Payload: string(payload)}, err
		}
		select {
		case <-l.rang:
		case <-ctx.Done():
		}
	}
}

// next removes one queue from due and returns it.
func (l *listener) next() (queue string, ok bool) {
	l.alarm.mu.Lock()
	defer l.alarm.mu.Unlock()
	for queue := range l.due {
		delete(l.due, queue)
		return queue, true
	}
	return "", false
}

// Listen implements riverdriver.Listener. It does nothing, since there is only one topic.
func (*listener) Listen(context.Context, string) error { return nil }

// Unlisten implements riverdriver.Listener.
func (*listener) Unlisten(context.Context, string) error { return nil }

// Ping implements riverdriver.Listener.
func (*listener) Ping(context.Context) error { return nil }

// Schema implements riverdriver.Listener.
func (l *listener) Schema() string { return l.schema }

// SetAfterConnectExec implements riverdriver.Listener, for River's own tests.
func (*listener) SetAfterConnectExec(string) {}
