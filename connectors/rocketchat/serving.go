package rocketchat

import (
	"context"
	"errors"
)

// serving returns who serves a room now, and whether it is open. It asks the workspace, since
// the event of a hand-over may be late or lost.
func (c *connector) serving(ctx context.Context, room string) (agent string, open bool, err error) {
	r, err := c.room(ctx, room)
	if errors.Is(err, errNoRoom) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return r.ServedBy.ID, r.Open, nil
}
