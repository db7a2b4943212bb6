// Package pulse remembers how the last transactions of a database ended. So the store knows without
// waiting whether it can write now.
package pulse

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

const (
	// slowTransaction is how long a transaction may run before the store is not ready.
	slowTransaction = time.Second
	// The store is not ready if tooManyFailed of the last length transactions failed and
	// others between them succeeded, not counting those before memory.
	length        = 16
	tooManyFailed = length / 4
	memory        = 30 * time.Second
	// After tooManyIO transactions in a row that failed because of the disk, the store stays
	// not ready: after such an error the system may have dropped data that it could not write.
	tooManyIO = 5
)

// A Pulse remembers how the last transactions ended. So it also knows a database that can write
// only sometimes. The zero Pulse remembers none. It is safe for concurrent use.
type Pulse struct {
	mu    sync.Mutex
	began time.Time // of the transaction that runs; zero for none
	last  [length]struct {
		at     time.Time
		failed bool
	}
	next    int   // index in last
	failure error // the latest
	io      int   // how many of the latest failed because of the disk
	lost    error // if it is not nil, nothing is written any more
}

// Begin notes that a transaction begins. It returns an error that wraps engine.ErrLost if none
// may begin any more.
func (p *Pulse) Begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost == nil {
		p.began = time.Now()
	}
	return p.lost
}

// End notes how the transaction ended. An error that is not the database's does not count. It
// returns true if no transaction may begin from now on.
func (p *Pulse) End(err error) (lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began = time.Time{}
	if p.io++; !errors.Is(err, engine.ErrIO) {
		p.io = 0
	}
	if p.io == tooManyIO {
		err = fmt.Errorf("%w: %d transactions in a row failed; stop the bridge, check the disk, and start it again: %w", engine.ErrLost, p.io, err)
	}
	if errors.Is(err, engine.ErrLost) {
		p.lost = err
		return true
	}
	failed := errors.Is(err, engine.ErrFailed)
	if err != nil && !failed {
		return false
	}
	p.last[p.next].at, p.last[p.next].failed = time.Now(), failed
	p.next = (p.next + 1) % length
	if failed {
		p.failure = err
	}
	return false
}

// Fault returns why the store cannot write now. If it returns nil, sure says that a write
// succeeded during the last second and none has failed since.
func (p *Pulse) Fault() (sure bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost != nil {
		return false, p.lost
	}
	if running := time.Since(p.began); !p.began.IsZero() && running > slowTransaction {
		return false, fmt.Errorf("a transaction has been waiting for the database for %v", running.Round(time.Millisecond))
	}
	failed, outages, before := 0, 0, false
	for i := range p.last {
		t := p.last[(p.next+i)%length] // the oldest first
		if t.failed && time.Since(t.at) < memory {
			failed++
			if !before {
				outages++
			}
		}
		before = t.failed
	}
	if failed >= tooManyFailed && outages > 1 {
		return false, fmt.Errorf("%d of the last %d transactions failed, the latest with: %w", failed, length, p.failure)
	}
	latest := p.last[(p.next+length-1)%length]
	return !latest.failed && time.Since(latest.at) < time.Second, nil
}
