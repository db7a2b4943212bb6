package rocketchat

import (
	"context"
	"errors"
)

// serving asks who serves a room now. An agent presses a button long after the
// event that put it there, and the event of a hand-over may be lost.
func (c *connector) serving(ctx context.Context, chat string) (agent string, open bool, err error) {
	r, err := c.room(ctx, chat)
	if errors.Is(err, errNoRoom) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return r.ServedBy.ID, r.Open, nil
}
