package jobs

import (
	"context"
	"log/slog"
)

// Warnings returns a logger for libraries that log every step. It drops everything below
// the level of warnings.
func Warnings(l *slog.Logger) *slog.Logger { return slog.New(atLeastWarn{l.Handler()}) }

type atLeastWarn struct{ next slog.Handler }

func (h atLeastWarn) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.next.Enabled(ctx, level)
}

func (h atLeastWarn) Handle(ctx context.Context, r slog.Record) error { return h.next.Handle(ctx, r) }

func (h atLeastWarn) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeastWarn{h.next.WithAttrs(attrs)}
}

func (h atLeastWarn) WithGroup(name string) slog.Handler { return atLeastWarn{h.next.WithGroup(name)} }
