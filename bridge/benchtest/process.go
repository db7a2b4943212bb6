package benchtest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ticksPerSecond is the unit of times in /proc/PID/stat on every architecture that Go supports
// (man 5 proc_pid_stat, sysconf(_SC_CLK_TCK)).
const ticksPerSecond = 100

// CPUSeconds returns the time that a process has used of the processors, in user and system mode. It
// reads /proc, so it works on Linux only.
func CPUSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the program is in parentheses and may contain spaces. The fields after it begin with
	// the third.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc does not say how much time the process has used")
	}
	user, errUser := strconv.ParseFloat(fields[11], 64)
	system, errSystem := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond, errors.Join(errUser, errSystem)
}

// ResidentBytes returns the memory of a process as Linux counts it. The error is fs.ErrNotExist on
// systems without /proc.
func ResidentBytes(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("/proc does not say how much memory the process has")
}

// LoadAverage returns how many processes ran or waited for a processor in the last minute, on
// average, or "not known".
func LoadAverage() string {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "not known"
	}
	first, _, _ := strings.Cut(string(load), " ")
	return first
}
