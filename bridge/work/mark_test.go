package work

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/upscope"
)

func TestTheErrorOfAJobSaysWhatTheStoreDoes(t *testing.T) {
	t.Parallel()
	failed := errors.New("the service answered 500")
	_, invalid := upscope.UniqueID("") // nothing is sent, now or later
	if !errors.Is(invalid, upscope.ErrInvalid) {
		t.Fatal(invalid)
	}
	for name, c := range map[string]struct{ err, want error }{
		"the card changed":           {web.ErrAgain, jobs.Snooze(failed, time.Second)},
		"the service refused":        {chat.Permanent(failed), jobs.Cancel(failed)},
		"Upscope cannot be asked so": {fmt.Errorf("find: %w", invalid), jobs.Cancel(failed)},
		"the service asked to wait":  {chat.RetryAfter(failed, time.Minute), jobs.Snooze(failed, time.Second)},
		"the service failed":         {failed, failed},
		"it worked":                  {nil, nil},
	} {
		if got := mark(c.err); fmt.Sprintf("%T", got) != fmt.Sprintf("%T", c.want) || !errors.Is(got, c.err) {
			t.Errorf("%s: %T, want %T", name, got, c.want)
		}
	}
}
