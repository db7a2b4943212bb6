package bridge

import (
	"sync"
	"time"
)

// A rest is how long Upscope wants to be left alone by what nobody waits for.
type rest struct {
	mu    sync.Mutex
	until time.Time
}

// note takes what an error says of it.
func (r *rest) note(err error) {
	wait, ok := retryWait(err)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = latest(r.until, time.Now().Add(wait))
}

func (r *rest) resting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.until)
}
