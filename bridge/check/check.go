// Package check finds out what keeps the bridge from starting or from working, for `bridge check`:
// settings, database, public address, Upscope, identity provider and chat services. It changes nothing.
// Each finding has a code, for which deploy/runbook.md has a section. Open this file first.
package check

import (
	"context"
	"slices"
	"time"
)

const (
	// limit is how long one check may take. They run at the same time.
	limit = 5 * time.Second
	// grace is how long a check that does not end with its context is waited for after the limit.
	grace = time.Second
)

// A task is one check that takes time.
type task struct {
	about string
	run   func(context.Context) []Finding
}

// run runs tasks at the same time and returns their findings in the order of the tasks.
func run(ctx context.Context, tasks []task) []Finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	results := make([]chan []Finding, len(tasks))
	for i, t := range tasks {
		results[i] = make(chan []Finding, 1)
		go func() { results[i] <- t.run(ctx) }()
	}
	tooLate := time.After(limit + grace)
	var all []Finding
	for i, t := range tasks {
		select {
		case found := <-results[i]:
			all = append(all, found...)
			continue
		case <-tooLate:
			tooLate = expired
		}
		select {
		case found := <-results[i]:
			all = append(all, found...)
		default:
			all = append(all, problem("check.timeout", t.about, "Run the check again, when this machine and the network are less busy.",
				"The check did not end within %s.", limit))
		}
	}
	return all
}

// expired can always be read.
var expired = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// Start checks what the bridge needs to start, besides its settings: the database, which no other bridge
// may use if it is a SQLite file.
func Start(ctx context.Context, c Config) []Finding {
	return run(ctx, []task{{aboutDatabase, func(ctx context.Context) []Finding {
		return append(checkDatabase(ctx, c), checkNotInUse(c.Database)...)
	}}})
}

// All checks the database, the bridge that runs, if one does, its public address, and all services.
func All(ctx context.Context, c Config) []Finding {
	return run(ctx, append([]task{
		{aboutDatabase, func(ctx context.Context) []Finding { return checkDatabase(ctx, c) }},
		{aboutOrigin, func(ctx context.Context) []Finding { return checkBridge(ctx, c) }},
	}, services(c)...))
}

// CanStart reports whether the bridge would start with the secret of the settings, by findings of All or
// Start.
func CanStart(found []Finding) bool {
	return !slices.ContainsFunc(found, func(f Finding) bool { return f.Code == codeSecret && f.Problem != "" })
}

// Services asks Upscope, the identity provider and each chat service whether the bridge can work with
// them.
func Services(ctx context.Context, c Config) []Finding { return run(ctx, services(c)) }
