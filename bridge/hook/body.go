package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"cobrowse-bridge/bridge/web"

	"golang.org/x/sync/semaphore"
)

// What the bodies of a connector's deliveries may use. Bodies up to freeBody count against
// nothing. Longer ones count with the memory that they use, up to smallBody; bodies above that
// need one of a few places. Senders that Permit has proven and all others have separate budgets,
// so that a stranger uses nothing of the chat service's.
const (
	maxBody   = 1 << 20  // for a connector without a MaxBody
	freeBody  = 64 << 10 // bytes
	smallBody = 1 << 20  // bytes

	provenBytes, provenPlaces     = 16 << 20, 2
	unprovenBytes, unprovenPlaces = 8 << 20, 1
)

// How long a sender may take. Senders wait for their answer only a few seconds anyway; Slack waits
// three.
const (
	patience = 2 * time.Second  // for the first byte, and beyond what minRate allows
	minRate  = 256 << 10        // bytes a second
	bodyTime = 15 * time.Second // for the whole body
	// placeWait is how long a large body waits for a place, and refuseTime how long the bridge and
	// net/http read the rest of a refused body before the answer. Together they are less than three
	// seconds.
	placeWait  = 2 * time.Second
	refuseTime = 500 * time.Millisecond
)

// An intake reads the bodies of one connector's deliveries, in bounded memory.
type intake struct {
	maxBody          int64
	proven, unproven budget
}

func newIntake(limit int64) *intake {
	if limit == 0 {
		limit = maxBody
	}
	return &intake{limit, newBudget(provenBytes, provenPlaces), newBudget(unprovenBytes, unprovenPlaces)}
}

// A budget has the bytes for bodies up to smallBody, and the places for larger bodies.
type budget struct{ bytes, places *semaphore.Weighted }

func newBudget(bytes, places int64) budget {
	return budget{semaphore.NewWeighted(bytes), semaphore.NewWeighted(places)}
}

// read reads the body of a delivery. proven says that Permit has proven the sender. Call free when
// the body is no longer needed. The error is ErrTooLarge, ErrBusy, ErrSlow or ErrBody.
func (in *intake) read(w http.ResponseWriter, r *http.Request, proven bool) (body []byte, free func(), err error) {
	if r.ContentLength > in.maxBody {
		return nil, nil, web.ErrTooLarge
	}
	b := &reader{
		source: http.MaxBytesReader(w, r.Body, in.maxBody), conn: http.NewResponseController(w),
		size: r.ContentLength, max: in.maxBody, budget: &in.unproven,
	}
	if proven {
		b.budget = &in.proven
	}
	if err = b.readAll(r.Context()); err == nil {
		b.deadline(time.Time{})
		return b.body, b.free, nil
	}
	b.free()
	b.deadline(time.Now().Add(refuseTime))
	if errors.Is(err, web.ErrBusy) {
		_, _ = io.Copy(io.Discard, b.source) // many clients read no answer before they have sent all
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return nil, nil, web.ErrTooLarge
	case errors.Is(err, web.ErrBusy):
		return nil, nil, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil, web.ErrSlow
	}
	return nil, nil, fmt.Errorf("%w: %w", web.ErrBody, err)
}

// A reader reads one body. It counts memory when it needs it, so a sender who only announces a
// large body uses nothing.
type reader struct {
	source  io.Reader
	conn    *http.ResponseController
	size    int64 // as announced; -1 if unknown
	max     int64 // bytes
	budget  *budget
	body    []byte
	counted int64 // bytes of budget.bytes in use
	placed  bool  // whether it has one of budget.places
	spent   time.Duration
}

func (b *reader) readAll(ctx context.Context) error {
	for int64(len(b.body)) != b.size {
		if len(b.body) == cap(b.body) {
			if err := b.grow(ctx); err != nil {
				return err
			}
		}
		began := time.Now()
		b.deadline(began.Add(min(patience+time.Duration(len(b.body))*time.Second/minRate, bodyTime) - b.spent))
		n, err := b.source.Read(b.body[len(b.body):cap(b.body)])
		b.body = b.body[:len(b.body)+n]
		b.spent += time.Since(began)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// grow makes room for more of the body: for twice as much as before, or for all if the body has a
// place.
func (b *reader) grow(ctx context.Context) error {
	all := b.size
	if all < 0 {
		all = b.max + 1 // one more, to see the end
	}
	size := min(int64(max(2*cap(b.body), 4<<10)), all)
	if err := b.count(ctx, size); err != nil {
		return err
	}
	if b.placed {
		size = all
	}
	grown := make([]byte, len(b.body), size)
	copy(grown, b.body)
	b.body = grown
	return nil
}

// count takes the memory for size bytes from the budget. A body that was announced as large waits
// for a place. One that turns out to be large does not wait, because it uses bytes of others
// already.
func (b *reader) count(ctx context.Context, size int64) error {
	switch {
	case size <= freeBody || b.placed:
		return nil
	case b.size > smallBody:
		ctx, cancel := context.WithTimeout(ctx, placeWait)
		defer cancel()
		b.placed = b.budget.places.Acquire(ctx, 1) == nil
	case size > smallBody:
		b.placed = b.budget.places.TryAcquire(1)
	case b.budget.bytes.TryAcquire(size - b.counted):
		b.counted = size
		return nil
	}
	if !b.placed {
		return web.ErrBusy
	}
	b.budget.bytes.Release(b.counted)
	b.counted = 0
	return nil
}

func (b *reader) free() {
	b.budget.bytes.Release(b.counted)
	if b.placed {
		b.budget.places.Release(1)
	}
	b.counted, b.placed, b.body = 0, false, nil
}

// deadline sets until when a read may take. Connections of tests may have none.
func (b *reader) deadline(t time.Time) { _ = b.conn.SetReadDeadline(t) }
