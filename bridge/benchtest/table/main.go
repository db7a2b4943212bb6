// Command table reads the output of go test -bench and prints each measurement with its goal. It
// also copies the output to stderr. It does not fail if a goal is missed: that depends on the machine.
//
//	go test -run '^$' -bench . -benchtime 5x ./bridge/... | go run ./bridge/benchtest/table
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A goal is the limit for one measurement. A benchmark reports it with b.ReportMetric, with id as the
// unit. The value is a multiple of the baseline, unless the description names a unit.
type goal struct {
	id, description, baseline string
	limit                     float64 // 0 means none
	least                     bool    // the limit is a minimum; otherwise it is a maximum
}

var goals = []goal{
	{"P1", "upstream part of clicks per CPU second", "httputil.ReverseProxy, tuned", 0.85, true},
	{"P2", "whole clicks per CPU second", "net/http making the same two calls", 0.20, true},
	{"P3-p50", "bridge's share of a click at 200/s, p50 in ms, without the p50 of one fsync", "net/http making the same two calls", 0.5, false},
	{"P3-p99", "bridge's share of a click at 200/s, p99 in ms, without the p50 of one fsync", "net/http making the same two calls", 1.5, false},
	{"P4", "co-browse pages per CPU second", "net/http answering the same bytes", 0.10, true},
	{"P5", "delivery over HTTP, 64 parallel, SQLite", "bare River InsertTx and row", 4, true},
	{"P6", "delivery into the store, 64 parallel, SQLite", "inserting only the row, with group commit", 0.20, true},
	{"P7-sqlite", "delivery into the store, 64 parallel, SQLite", "bare River InsertTx and row", 4, true},
	{"P7", "delivery into the store, 64 parallel, PostgreSQL", "bare River InsertTx and row", 0.7, true},
	{"P8", "p99 of a delivery, 64 parallel, SQLite", "p50 of one alone", 30, false},
	{"P8-postgres", "p99 of a delivery, 64 parallel, PostgreSQL", "p50 of one alone", 30, false},
	{"P9-forged", "forged deliveries refused per CPU second", "net/http answering 401", 0.6, true},
	{"P9-unknown", "unknown handles refused per CPU second", "net/http answering the same bytes", 0, true},
	{"P11", "visitor from a cache of 100,000", "bare go-cache Get", 3, false},
	{"P11/µs", "visitor from a cache of 100,000, in µs", "", 1, false},
	{"P11-match/µs", "match of clues with a cached visitor, in µs", "", 0, false},
	{"P12-insert", "delivery with a million pending", "with a thousand", 1.5, false},
	{"P12-claim", "job claimed with a million pending", "with a thousand", 1.5, false},
	{"P13", "card by its handle among a million", "among a thousand", 1.5, false},
	{"S1", "slowest answer to 200 Slack commands at once", "the 3 s that Slack waits", 0.1, false},
	{"P14", "log line through the redactor", "without it", 2, false},
}

func main() {
	measured, err := read(io.TeeReader(os.Stdin, os.Stderr))
	if err == nil {
		err = write(os.Stdout, measured)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

// read returns the metrics of all benchmark lines by their units. Such a line has a name, a
// count, and pairs of value and unit.
func read(r io.Reader) (map[string]float64, error) {
	measured := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", fields[0], err)
			}
			measured[fields[i+1]] = value
		}
	}
	return measured, lines.Err()
}

func write(w io.Writer, measured map[string]float64) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tWHAT\tBASELINE\tMEASURED\tGOAL\t")
	for _, g := range goals {
		value, ok := measured[g.id]
		if !ok {
			fmt.Fprintf(table, "%s\t%s\t%s\t-\t%s\tnot measured\n", g.id, g.description, g.baseline, g.text())
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.3g\t%s\t%s\n", g.id, g.description, g.baseline, value, g.text(), g.result(value))
	}
	return table.Flush()
}

func (g goal) text() string {
	switch {
	case g.limit == 0:
		return "none"
	case g.least:
		return fmt.Sprintf("≥ %g", g.limit)
	}
	return fmt.Sprintf("≤ %g", g.limit)
}

func (g goal) result(value float64) string {
	met := value <= g.limit
	if g.least {
		met = value >= g.limit
	}
	switch {
	case g.limit == 0:
		return ""
	case met:
		return "ok"
	}
	return "missed"
}
