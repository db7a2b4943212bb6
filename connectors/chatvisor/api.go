package chatvisor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"cobrowse-bridge/connectors/rest"

	"github.com/tidwall/gjson"
)

const (
	callTimeout  = 10 * time.Second
	maxAnswer    = 1 << 20
	maxErrorBody = 2 << 10
)

// An api speaks to one tenant: to its host alone, at any method, and no faster than
// its pace.
type api struct {
	base      string // without a slash at its end
	http      *http.Client
	inQuery   bool
	token     atomic.Pointer[string]
	tokenFile string
	turns     turns
}

func newAPI(c Config) *api {
	a := &api{
		base: strings.TrimSuffix(c.URL.String(), "/"),
		http: &http.Client{
			Transport: c.Transport,
			// The token goes nowhere that nobody configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		inQuery:   c.Rules.queryAuth,
		tokenFile: c.TokenFile,
	}
	a.token.Store(&c.Token)
	return a
}

// A request is one call of the API.
type request struct {
	name   string // for errors; it has nothing of a customer in it
	method string
	path   string // escaped, below the base
	query  url.Values
	body   any           // nil for none
	most   time.Duration // to wait for its turn
}

// do makes a call and gives the answer, which is JSON or empty.
func (a *api) do(ctx context.Context, r request) (gjson.Result, error) {
	if err := a.wait(ctx, r); err != nil {
		return gjson.Result{}, err
	}
	token := *a.token.Load()
	answer, err := a.call(ctx, r, token)
	if refusal(err) == http.StatusUnauthorized && a.renewed(token) {
		if err := a.wait(ctx, r); err != nil {
			return gjson.Result{}, err
		}
		answer, err = a.call(ctx, r, *a.token.Load())
	}
	return answer, err
}

// wait lets a request have its turn, or puts it off if that is far away.
func (a *api) wait(ctx context.Context, r request) error {
	what := r.path + "?" + r.query.Encode()
	pause, err := a.turns.take(what, r.most)
	if err == nil {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		if err = ctx.Err(); err == nil {
			err = a.turns.stands(what) // what others were answered meanwhile counts
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	return nil
}

// renewed looks for a newer token in its file, once for each that is refused.
func (a *api) renewed(refused string) bool {
	if a.tokenFile == "" {
		return false
	}
	content, err := os.ReadFile(a.tokenFile)
	token := strings.TrimSpace(string(content))
	if err != nil || !visible(token) || token == refused {
		return false
	}
	a.token.Store(&token)
	return true
}

func (a *api) call(ctx context.Context, r request, token string) (gjson.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := a.request(ctx, r, token)
	if err != nil {
		return gjson.Result{}, rest.Broken(r.name, err)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return gjson.Result{}, rest.Broken(r.name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		refused := &rest.StatusError{Op: r.name, Status: resp.StatusCode, Header: resp.Header, Body: text}
		if wait, told := askedWait(refused, time.Now()); told {
			a.turns.leaveAlone(wait)
		}
		return gjson.Result{}, refused
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return gjson.Result{}, rest.Broken(r.name, err)
	case len(data) > maxAnswer:
		return gjson.Result{}, fmt.Errorf("%s: %w", r.name, rest.ErrTooLarge)
	case len(bytes.TrimSpace(data)) == 0:
		return gjson.Result{}, nil // what some answer who changed something
	}
	if err := rest.Decode(data, new(json.RawMessage)); err != nil {
		return gjson.Result{}, fmt.Errorf("%s: answer: %w", r.name, err)
	}
	return gjson.ParseBytes(data), nil
}

func (a *api) request(ctx context.Context, r request, token string) (*http.Request, error) {
	query := url.Values{}
	for name, values := range r.query {
		query[name] = values
	}
	if a.inQuery {
		query.Set("access_token", token)
	}
	address := a.base + r.path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.method, http.MethodGet), address, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !a.inQuery {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, nil
}

// take does what a step's endpoint stands for. It waits for its turn for the given time
// at most.
func (c *connector) take(ctx context.Context, name string, values map[placeholder]any, most time.Duration) (*endpoint, gjson.Result, error) {
	e, err := c.step(name)
	if err != nil {
		return nil, gjson.Result{}, err
	}
	r, err := e.fill(values)
	if err != nil {
		return nil, gjson.Result{}, err
	}
	r.most = most
	answer, err := c.api.do(ctx, r)
	return e, answer, err
}
