package slack

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	slackapi "github.com/slack-go/slack"
)

// call calls a method of the Web API with the bot token, and decodes the answer into to. It is for
// methods of whose answers the connector needs little: slack-go decodes the whole answer, and
// fails if Slack has added something of a new form. The errors have the same types as slack-go's.
func (c *connector) call(ctx context.Context, method string, args url.Values, to any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+method, strings.NewReader(args.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+c.botToken.Current())
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, &slackapi.RateLimitedError{RetryAfter: retryAfter(resp.Header)}
	case resp.StatusCode != http.StatusOK:
		return nil, slackapi.StatusCodeError{Code: resp.StatusCode}
	}
	var body json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		if _, syntax := errors.AsType[*json.SyntaxError](err); syntax {
			err = errAnswer
		}
		return nil, err
	}
	var result struct {
		OK     bool             `json:"ok"`
		Error  string           `json:"error"`
		Needed optional[string] `json:"needed"`
	}
	switch err := json.Unmarshal(body, &result); {
	case err != nil:
		return nil, errAnswer
	case !result.OK:
		return nil, slackapi.SlackErrorResponse{Err: result.Error, Needed: result.Needed.value}
	case json.Unmarshal(body, to) != nil:
		return nil, errAnswer
	}
	return resp.Header, nil
}

// An optional is a value of an answer that the connector can do without. It is zero if the answer
// has it in another form.
type optional[T any] struct{ value T }

// UnmarshalJSON never fails.
func (o *optional[T]) UnmarshalJSON(data []byte) error {
	var v T
	if json.Unmarshal(data, &v) == nil {
		o.value = v
	}
	return nil
}

// truth reads a boolean that Slack sometimes sends as a string.
func truth(v any) bool { return v == true || v == "true" }

// perhaps reads a boolean that forbids something. It returns true for a value that it does not know.
func perhaps(v any) bool { return v != nil && v != false && v != "false" }
