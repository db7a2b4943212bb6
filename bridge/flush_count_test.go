package bridge

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// acknowledged is the prefix of files that do not exist. Looking for them marks each
// acknowledgement in the trace of system calls.
const acknowledged = "/acknowledged-delivery-"

// acknowledge delivers events to a bridge, one after the other, and marks each.
func acknowledge(dir string) error {
	c, err := newBenchBridge(dir, "http://127.0.0.1:1", inMemory{}, unlimited)
	if err != nil {
		return err
	}
	for n := range 20 {
		_, _ = os.Stat(fmt.Sprint(acknowledged, n))
		answer := httptest.NewRecorder()
		c.ServeHTTP(answer, delivery("", fmt.Sprint("event-", n)))
		if answer.Code != http.StatusOK {
			return fmt.Errorf("delivery %d is answered %d", n, answer.Code)
		}
	}
	_, _ = os.Stat(acknowledged + "end")
	return c.close()
}

func TestEveryAcknowledgedDeliveryIsFlushedToTheDisk(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), strace, "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace other programs here: %v: %s", err, out)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	child := exec.CommandContext(t.Context(), strace, "-f", "-o", trace, "-e", "trace=fsync,fdatasync,newfstatat", os.Args[0])
	child.Env = append(os.Environ(), childVariable+"=acknowledge:"+t.TempDir())
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	marks, flushes := 0, 0
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.Contains(line, acknowledged):
			if marks++; marks > 1 && flushes == 0 {
				t.Errorf("delivery %d was acknowledged before it was flushed to the disk", marks-2)
			}
			flushes = 0
		case strings.Contains(line, "sync") && strings.Contains(line, "= 0"):
			flushes++
		}
	}
	if marks != 21 {
		t.Fatal(errors.New("the trace is not complete"))
	}
}
