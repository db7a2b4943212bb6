package store

import (
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river/rivertype"
)

// maxAttempts of one job take about a day, the longest that a chat service
// repeats a delivery itself.
const maxAttempts = 725

type retryPolicy struct{}

// NextRetry implements river.ClientRetryPolicy.
func (retryPolicy) NextRetry(j *rivertype.JobRow) time.Time {
	return time.Now().Add(retryDelay(j.Attempt, rand.Float64()))
}

// retryDelay is how long to wait after so many attempts: two seconds and twice
// as long each time, up to two minutes, and up to a fifth more or less, as
// random, in [0, 1), says.
func retryDelay(attempt int, random float64) time.Duration {
	delay := 2 * time.Minute
	if attempt < 7 { // 2⁷ s is more
		delay = time.Second << max(attempt, 1)
	}
	return time.Duration(float64(delay) * (0.8 + 0.4*random))
}
