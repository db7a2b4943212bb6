package upscope

import (
	"context"
	"net/http"
	"net/url"
)

// Eraser removes people from Upscope for good. It is apart from Client so that a program which never makes one
// cannot erase anybody by mistake.
type Eraser struct{ wire *wire }

// NewEraser checks the configuration as New does; it sends nothing.
func NewEraser(c Config) (*Eraser, error) {
	w, err := newWire(c)
	if err != nil {
		return nil, err
	}
	return &Eraser{w}, nil
}

// CloseIdleConnections closes the kept connections of the transport, if it can.
func (e *Eraser) CloseIdleConnections() { e.wire.closeIdle() }

// DeleteVisitor erases one visitor: DELETE /visitors/{short_id}. ErrVisitorOnline while the visitor is online,
// ErrNotFound when there is none.
func (e *Eraser) DeleteVisitor(ctx context.Context, shortID string) error {
	r, err := aboutVisitor("delete visitor", http.MethodDelete, shortID)
	if err != nil {
		return err
	}
	return e.wire.call(ctx, r, nil)
}

// Confirmation is what DeleteAllOfflineVisitors wants to hear. Of all values only AllOfflineVisitors will do,
// so it can carry what a person typed.
type Confirmation string

// AllOfflineVisitors confirms.
const AllOfflineVisitors Confirmation = "delete all offline visitors"

// DeleteAllOfflineVisitors erases every visitor of the account who is not online at that moment:
// DELETE /visitors?all=true. The service may take minutes to finish after it has answered. Any confirmation but
// AllOfflineVisitors is refused with ErrInvalid.
func (e *Eraser) DeleteAllOfflineVisitors(ctx context.Context, confirm Confirmation) error {
	const op = "delete all offline visitors"
	if confirm != AllOfflineVisitors {
		return refuse(op, "not confirmed")
	}
	r := request{
		op: op, method: http.MethodDelete, path: []string{"visitors"}, query: url.Values{"all": {"true"}},
		deadline: slowDeadline,
	}
	return e.wire.call(ctx, r, nil)
}
