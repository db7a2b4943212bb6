// Command program measures the program as it is built: its size, the time from its start to the first
// time it is ready, and its memory when nothing happens. The services that it needs are not there.
//
//	go run ./bridge/benchtest/program bin/bridge
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cobrowse-bridge/bridge/benchtest"
)

const (
	starts  = 5                // after the first one, which makes the database
	idle    = 10 * time.Second // before the memory is read
	timeout = 2 * time.Minute  // for one start
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "program: the path of the program is missing, such as bin/bridge")
		os.Exit(2)
	}
	if err := measure(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, program string) error {
	info, err := os.Stat(program)
	if err != nil {
		return err
	}
	fmt.Printf("size of the program          %.1f MB\n", float64(info.Size())/1e6)
	folder, err := os.MkdirTemp("", "bridge-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	var times []time.Duration
	for n := range starts + 1 {
		pause := time.Duration(0)
		if n == starts {
			pause = idle
		}
		took, memory, err := start(ctx, program, folder, pause)
		if err != nil {
			return err
		}
		switch n {
		case 0:
			fmt.Printf("ready with a new database    %d ms\n", took.Milliseconds())
		case starts:
			times = append(times, took)
			fmt.Printf("ready, median of %d starts    %d ms\n", len(times), benchtest.Percentile(times, 50).Milliseconds())
			fmt.Printf("memory after %s without work  %s\n", idle, memory)
		default:
			times = append(times, took)
		}
	}
	return nil
}

// start runs the program until it is ready and pause is over. It returns the time until it was ready,
// and its memory at the end.
func start(ctx context.Context, program, folder string, pause time.Duration) (took time.Duration, memory string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	address, err := freeAddress(ctx)
	if err != nil {
		return 0, "", err
	}
	var log strings.Builder
	cmd := exec.CommandContext(ctx, program, "serve")
	cmd.Env = []string{
		"BRIDGE_DATABASE=sqlite:" + filepath.Join(folder, "bridge.db"), "BRIDGE_LISTEN=" + address, "BRIDGE_METRICS_LISTEN=off",
		"BRIDGE_ORIGIN=https://bridge.example.org", "BRIDGE_SECRET=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "BRIDGE_CONNECTORS=slack",
		"SLACK_SIGNING_SECRET=value-of-the-signing-secret", "SLACK_BOT_TOKEN=xoxb-value-of-the-token", "SLACK_URL=http://127.0.0.1:1/api/",
		"UPSCOPE_API_KEY=value-of-the-upscope-key", "UPSCOPE_URL=http://127.0.0.1:1",
	}
	cmd.Stdout, cmd.Stderr = &log, &log
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, "", err
	}
	defer func() {
		err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM))
		if waited := cmd.Wait(); waited != nil {
			err = errors.Join(err, fmt.Errorf("%s serve: %w\n%s", program, waited, log.String()))
		}
	}()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !ready(ctx, address) {
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, "", fmt.Errorf("the program was not ready within %s", timeout)
		}
	}
	took = time.Since(began)
	if pause == 0 {
		return took, "", nil
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return 0, "", ctx.Err()
	}
	memory, err = residentMemory(cmd.Process.Pid)
	return took, memory, err
}

// freeAddress returns an address of this machine on which nothing listens.
func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func ready(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// residentMemory returns the memory of a process as Linux counts it, or says that it is not known.
func residentMemory(pid int) (string, error) {
	bytes, err := benchtest.ResidentBytes(pid)
	if errors.Is(err, os.ErrNotExist) {
		return "not known: this system has no /proc", nil
	}
	return fmt.Sprintf("%d kB", bytes>>10), err
}
