package upscope

import (
	"context"
	"net/http"
	"net/url"
)

// Eraser removes people from Upscope permanently. It is separate from Client, so that a program without an Eraser
// cannot erase people by mistake.
type Eraser struct{ wire *wire }

// NewEraser checks the configuration as New does, and sends nothing.
func NewEraser(c Config) (*Eraser, error) {
	w, err := newWire(c)
	if err != nil {
		return nil, err
	}
	return &Eraser{w}, nil
}

// CloseIdleConnections closes the kept connections of the transport, if it can.
func (e *Eraser) CloseIdleConnections() { e.wire.closeIdle() }

// DeleteVisitor erases one visitor: DELETE /visitors/{short_id}. The error is ErrVisitorOnline while the visitor is
// online, and ErrNotFound if there is no such visitor.
func (e *Eraser) DeleteVisitor(ctx context.Context, shortID string) error {
	r, err := visitorRequest("delete visitor", http.MethodDelete, shortID)
	if err != nil {
		return err
	}
	return e.wire.call(ctx, r, nil)
}

// Confirmation is a text that a person typed to confirm DeleteAllOfflineVisitors.
type Confirmation string

// AllOfflineVisitors is the only Confirmation that is accepted.
const AllOfflineVisitors Confirmation = "delete all offline visitors"

// DeleteAllOfflineVisitors erases every visitor of the account who is offline: DELETE /visitors?all=true. The
// service may take minutes after its answer. The error is ErrInvalid if confirm is not AllOfflineVisitors.
func (e *Eraser) DeleteAllOfflineVisitors(ctx context.Context, confirm Confirmation) error {
	const op = "delete all offline visitors"
	if confirm != AllOfflineVisitors {
		return invalidRequest(op, "not confirmed")
	}
	r := request{
		op: op, method: http.MethodDelete, path: []string{"visitors"}, query: url.Values{"all": {"true"}},
		deadline: slowDeadline,
	}
	return e.wire.call(ctx, r, nil)
}
