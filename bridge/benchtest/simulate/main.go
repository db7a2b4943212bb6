// Command simulate measures the program under the load of a support team: it runs `bridge serve` with
// a chat service, Upscope and agents in memory, and prints tables of counts, CPU time and durations.
// The processor time of the bridges and of PostgreSQL is read from /proc, so it runs on Linux. What
// this process uses is not counted, but it runs on the same machine, so durations are only a hint.
//
//	go run ./bridge/benchtest/simulate -bridge bin/bridge -only desks,burst -scale 0.2
//
// Read main.go first, then parts.go.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge/benchtest"
)

func main() {
	var o options
	only := flag.String("only", "", "comma-separated parts: "+partNames())
	databases := flag.String("database", "", "run all parts on this: sqlite, postgres, or both with a comma; empty: each part where it says most")
	replicas := flag.String("replicas", "1,2,3", "numbers of replicas of the part replicas")
	desks := flag.String("desks", "0,1000,2000", "numbers of open desks of the part desks; the middle one is that of the part all")
	flag.StringVar(&o.bridge, "bridge", "", "path of the program to measure; empty: build the one of this checkout")
	flag.StringVar(&o.postgres, "postgres", os.Getenv("BRIDGE_TEST_POSTGRES"), "address of a PostgreSQL server on this machine; empty: PostgreSQL is not measured")
	flag.Float64Var(&o.scale, "scale", 1, "factor of the durations of all measurements")
	flag.IntVar(&o.chats, "chats", 5000, "open chats")
	flag.IntVar(&o.cards, "cards", 10, "chats of each agent")
	flag.DurationVar(&o.delay, "delay", 3*time.Millisecond, "time that the chat service and Upscope take for each answer")
	flag.Parse()
	var errReplicas, errDesks error
	o.replicas, errReplicas = numbers(*replicas)
	o.desks, errDesks = numbers(*desks)
	if err := errors.Join(errReplicas, errDesks); err != nil || flag.NArg() > 0 || o.chats < 1 || o.cards < 1 {
		fmt.Fprintln(os.Stderr, "simulate: the flags are not valid:", err)
		os.Exit(2)
	}
	o.only = strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := simulate(ctx, os.Stdout, o, strings.FieldsFunc(*databases, func(r rune) bool { return r == ',' })); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		stop()
		os.Exit(1)
	}
}

func partNames() string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

// numbers reads a comma-separated list. It returns at least one number.
func numbers(list string) (all []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not a list of numbers", list)
		}
		all = append(all, n)
	}
	return all, nil
}

// simulate runs the parts. databases are those on which all of them run; empty: each part on its own.
func simulate(ctx context.Context, out io.Writer, o options, databases []string) error {
	for _, name := range o.only {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("there is no part %q, only %s", name, partNames())
		}
	}
	if o.bridge == "" {
		folder, err := os.MkdirTemp("", "bridge-simulate")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		if o.bridge, err = build(ctx, folder); err != nil {
			return err
		}
	}
	version, err := exec.CommandContext(ctx, o.bridge, "version").Output()
	if err != nil {
		return fmt.Errorf("%s version: %w", o.bridge, err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	fmt.Fprintf(out, "%s\n%s; %d processors (%s), load %s; %d open chats, %d agents, services answer after %s\n",
		first, time.Now().UTC().Format(time.DateTime+" UTC"), runtime.NumCPU(), processor(), benchtest.LoadAverage(), o.chats, max(1, o.chats/o.cards), o.delay)
	for _, engine := range []string{"sqlite", "postgres"} {
		if len(databases) > 0 && !slices.Contains(databases, engine) {
			continue
		}
		var chosen []part
		for _, p := range parts {
			if (len(o.only) == 0 || slices.Contains(o.only, p.name)) && (len(databases) > 0 || strings.Contains(p.engines, engine)) && (p.name != "replicas" || engine == "postgres") {
				chosen = append(chosen, p)
			}
		}
		if len(chosen) == 0 {
			continue
		}
		if engine == "postgres" && o.postgres == "" {
			fmt.Fprintln(out, "\nPostgreSQL is not measured: -postgres and BRIDGE_TEST_POSTGRES do not name a server.")
			continue
		}
		if err := runParts(ctx, out, o, engine, chosen); err != nil {
			return err
		}
	}
	return nil
}

// runParts runs parts on one database, one after the other with the same bridge.
func runParts(ctx context.Context, out io.Writer, o options, engine string, chosen []part) error {
	r := &run{options: o, out: out}
	defer func() {
		if r.site != nil {
			r.end()
		}
	}()
	for _, p := range chosen {
		if p.fresh && r.site != nil {
			r.report()
			r.end()
			r.site = nil
		}
		r.print("\n## %s (%s; load %s)", p.title, engine, benchtest.LoadAverage())
		began := time.Now()
		if r.site == nil {
			if err := r.begin(ctx, engine); err != nil {
				return err
			}
		}
		if err := p.do(r, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		r.print("\nThis part took %.0f s; load at the end %s.", time.Since(began).Seconds(), benchtest.LoadAverage())
	}
	r.report()
	return nil
}

// begin makes a site with one bridge.
func (r *run) begin(ctx context.Context, engine string) (err error) {
	database := engine
	if engine == "postgres" {
		database = r.postgres
	}
	if r.site, err = newSite(ctx, r.options, database); err != nil {
		return err
	}
	return r.runReplicas(ctx, 1)
}

// report prints what went wrong on the site.
func (r *run) report() {
	for _, fault := range r.chat.faults() {
		r.print("Fault: %s", fault)
	}
	for i, b := range r.bridges {
		if lines := b.warnings(); len(lines) > 0 {
			r.print("Replica %d logged %d warnings; the last: %s", i+1, len(lines), lines[len(lines)-1])
		}
	}
}

// processor returns the name of the machine's processor.
func processor() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "not known"
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
