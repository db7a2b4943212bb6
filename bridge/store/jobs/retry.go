package jobs

import (
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river/rivertype"
)

// maxAttempts is how often a job is tried, which takes about a day. No chat service repeats
// its deliveries for longer.
const maxAttempts = 725

type retryPolicy struct{}

// NextRetry implements river.ClientRetryPolicy.
func (retryPolicy) NextRetry(j *rivertype.JobRow) time.Time {
	return time.Now().Add(retryDelay(j.Attempt, rand.Float64()))
}

// retryDelay is the wait after the given attempt: 2 seconds after the first, doubled each
// time up to 2 minutes, and varied by up to a fifth. random is in [0, 1).
func retryDelay(attempt int, random float64) time.Duration {
	delay := 2 * time.Minute
	if attempt < 7 { // 2⁷ s is longer
		delay = time.Second << max(attempt, 1)
	}
	return time.Duration(float64(delay) * (0.8 + 0.4*random))
}
