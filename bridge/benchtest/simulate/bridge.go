package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cobrowse-bridge/bridge/benchtest"
)

const readyWait = 2 * time.Minute // for the start of a bridge on a busy machine

// A bridge is `bridge serve` as a process.
type bridge struct {
	command          *exec.Cmd
	address, metrics string // host and port
	log              string // file
	ended            chan struct{}
	err              error // of the end, once ended is closed
}

// settings are the variables of a bridge.
func settings(database, chatURL, upscopeURL string) []string {
	return []string{
		"BRIDGE_ORIGIN=" + origin, "BRIDGE_LISTEN=127.0.0.1:0", "BRIDGE_METRICS_LISTEN=127.0.0.1:0", "BRIDGE_LOG_LEVEL=warn",
		"BRIDGE_DATABASE=" + database, "BRIDGE_SECRET=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "BRIDGE_CONNECTORS=rocketchat",
		"BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=127.0.0.1", "BRIDGE_LINK_EMAIL=true",
		"UPSCOPE_API_KEY=" + upscopeKey, "UPSCOPE_URL=" + upscopeURL,
		"ROCKETCHAT_URL=" + chatURL, "ROCKETCHAT_WEBHOOK_SECRET=" + webhookSecret,
		"ROCKETCHAT_READER_ID=" + readerID, "ROCKETCHAT_READER_TOKEN=value-of-the-reader-token",
		"ROCKETCHAT_POSTER_ID=" + posterID, "ROCKETCHAT_POSTER_TOKEN=value-of-the-poster-token",
	}
}

var readyLine = regexp.MustCompile(`^bridge is ready on (\S+) for .*, with metrics on (\S+)`)

// startBridge starts a program and waits for the line that says where it listens. The log is written
// to a file in folder.
func startBridge(ctx context.Context, program, folder string, settings []string) (*bridge, error) {
	log, err := os.CreateTemp(folder, "bridge-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	b := &bridge{command: exec.CommandContext(ctx, program, "serve"), log: log.Name(), ended: make(chan struct{})}
	b.command.Env, b.command.Stderr = settings, log
	out, err := b.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.command.Start(); err != nil {
		return nil, err
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n') // what is missing is seen in the line
		line <- text
		b.err = b.command.Wait()
		close(b.ended)
	}()
	var text string
	select {
	case text = <-line:
	case <-time.After(readyWait):
	}
	found := readyLine.FindStringSubmatch(text)
	if found == nil {
		_ = b.command.Process.Kill()
		<-b.ended
		return nil, fmt.Errorf("%s serve did not become ready: %q, %w\n%s", program, text, errors.Join(b.err), b.lastLog())
	}
	b.address, b.metrics = found[1], found[2]
	return b, nil
}

// lastLog returns the end of the log.
func (b *bridge) lastLog() string {
	text, _ := os.ReadFile(b.log)
	return string(text[max(0, len(text)-2000):])
}

// warnings returns the lines of the log, without those that every start of this simulation has.
func (b *bridge) warnings() (lines []string) {
	text, _ := os.ReadFile(b.log)
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, `"new database`) && !strings.Contains(line, `"problem found at start"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

// stop ends the process with SIGTERM.
func (b *bridge) stop() error {
	if err := b.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-b.ended
	if b.err != nil {
		return fmt.Errorf("the bridge ended with %w\n%s", b.err, b.lastLog())
	}
	return nil
}

func (b *bridge) cpu() float64 {
	seconds, _ := benchtest.CPUSeconds(b.command.Process.Pid) // 0 after its end, which stop reports
	return seconds
}

func (b *bridge) memory() int64 {
	bytes, _ := benchtest.ResidentBytes(b.command.Process.Pid)
	return bytes
}

// oldestJob returns for how many seconds the oldest job has been due that nobody has started: infinite
// if the bridge could not read its database within a second. All replicas report the same.
func (b *bridge) oldestJob(ctx context.Context) (seconds float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if lines.Text() == "bridge_scrape_failed 1" {
			seconds = math.Inf(1)
		}
		if name, value, _ := strings.Cut(lines.Text(), "} "); strings.HasPrefix(name, "bridge_waiting_jobs_oldest_age_seconds{") {
			number, _ := strconv.ParseFloat(value, 64) // always a number
			seconds = max(seconds, number)
		}
	}
	return seconds, lines.Err()
}

// build builds the bridge of this checkout into folder.
func build(ctx context.Context, folder string) (program string, err error) {
	program = filepath.Join(folder, "bridge")
	command := exec.CommandContext(ctx, "go", "build", "-o", program, "cobrowse-bridge/cmd/bridge")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return program, nil
}
