// Package api calls the REST API of one tenant of Chatvisor, at the endpoints that the
// operator's file names. Open this file first.
package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/chatvisor/rules"
	"cobrowse-bridge/connectors/rest"

	"github.com/tidwall/gjson"
)

const (
	callTimeout  = 10 * time.Second
	maxAnswer    = 1 << 20
	maxErrorBody = 2 << 10
)

// A Config has the settings of a Client. The caller has checked them.
type Config struct {
	// Name is the connector's configured name; errors name its settings by it.
	Name string
	// URL is the address of the REST API.
	URL *url.URL
	// Token is an API key of the tenant.
	Token *secret.Value
	// TokenFile is a file that is read again when the API refuses the token. Empty means
	// that there is none.
	TokenFile string
	// Rules contain the endpoints.
	Rules *rules.Rules
	// Transport carries all requests.
	Transport http.RoundTripper
}

// A Client calls the API of one tenant, at most twice a second. It follows no redirect.
type Client struct {
	// Name and Rules are those of the Config.
	Name  string
	Rules *rules.Rules

	base      string // without a slash at the end
	http      *http.Client
	inQuery   bool
	token     *secret.Value
	tokenFile string
	turns     turns
}

// New returns a client. It makes no request.
func New(c Config) *Client {
	a := &Client{
		Name:  c.Name,
		Rules: c.Rules,
		base:  strings.TrimSuffix(c.URL.String(), "/"),
		http: &http.Client{
			Transport: c.Transport,
			// The token is sent only to the configured address.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		inQuery:   c.Rules.QueryAuth,
		tokenFile: c.TokenFile,
		token:     c.Token,
	}
	return a
}

// Do makes a request and returns the answer, which is JSON or empty. It waits for its
// turn for at most maxWait, and otherwise returns an error for which IsPostponed is true.
func (a *Client) Do(ctx context.Context, r rules.Request, maxWait time.Duration) (gjson.Result, error) {
	if err := a.wait(ctx, r, maxWait); err != nil {
		return gjson.Result{}, err
	}
	token := a.token.Current()
	answer, err := a.call(ctx, r, token)
	if StatusOf(err) == http.StatusUnauthorized && a.reloadToken(token) {
		if err := a.wait(ctx, r, maxWait); err != nil {
			return gjson.Result{}, err
		}
		answer, err = a.call(ctx, r, a.token.Current())
	}
	return answer, err
}

// wait waits for the turn of a request, or returns an error if that takes longer than
// maxWait.
func (a *Client) wait(ctx context.Context, r rules.Request, maxWait time.Duration) error {
	request := r.Path + "?" + r.Query.Encode()
	turn, err := a.turns.reserve(request, maxWait)
	if err == nil {
		select {
		case <-time.After(turn):
		case <-ctx.Done():
		}
		if err = ctx.Err(); err == nil {
			err = a.turns.confirm(request) // another answer may have paused all requests
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	return nil
}

// reloadToken reads the token file after a token was refused, and reports whether it
// contains another token.
func (a *Client) reloadToken(refused string) bool {
	if a.tokenFile == "" {
		return false
	}
	content, err := os.ReadFile(a.tokenFile)
	token := strings.TrimSpace(string(content))
	if err != nil || !rules.Visible(token) || token == refused {
		return false
	}
	a.token.Replace(token, 0)
	return true
}

func (a *Client) call(ctx context.Context, r rules.Request, token string) (gjson.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := a.request(requestid.WithRoute(ctx, r.Name), r, token)
	if err != nil {
		return gjson.Result{}, rest.Broken(r.Name, err)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return gjson.Result{}, rest.Broken(r.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		refused := &rest.StatusError{Op: r.Name, Status: resp.StatusCode, Header: resp.Header, Body: text}
		if wait, requested := requestedWait(refused, time.Now()); requested {
			a.turns.pauseFor(wait)
		}
		return gjson.Result{}, refused
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return gjson.Result{}, rest.Broken(r.Name, err)
	case len(data) > maxAnswer:
		return gjson.Result{}, fmt.Errorf("%s: %w", r.Name, rest.ErrTooLarge)
	case len(bytes.TrimSpace(data)) == 0:
		return gjson.Result{}, nil // as some APIs answer after a change
	}
	if err := rest.Decode(data, new(json.RawMessage)); err != nil {
		return gjson.Result{}, fmt.Errorf("%s: answer: %w", r.Name, err)
	}
	return gjson.ParseBytes(data), nil
}

func (a *Client) request(ctx context.Context, r rules.Request, token string) (*http.Request, error) {
	query := url.Values{}
	for name, values := range r.Query {
		query[name] = values
	}
	if a.inQuery {
		query.Set("access_token", token)
	}
	address := a.base + r.Path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var body io.Reader
	if r.Body != nil {
		data, err := json.Marshal(r.Body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.Method, http.MethodGet), address, body)
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

// Address returns the address of the API.
func (a *Client) Address() string { return a.base }

// Env returns the name of one of the connector's environment variables.
func (a *Client) Env(suffix string) string {
	return strings.ToUpper(strings.ReplaceAll(a.Name, "-", "_")) + "_" + suffix
}

// WhyOff says in a sentence why a step is not available; empty if it is.
func (a *Client) WhyOff(step string) string { return a.Rules.WhyOff(step, a.Env("CONFIG")) }

// Step returns the endpoint of a step, or an error that names the missing setting.
func (a *Client) Step(name string) (*rules.Endpoint, error) {
	if why := a.WhyOff(name); why != "" {
		return nil, errors.New(why)
	}
	return a.Rules.Endpoints[name], nil
}

// RunStep makes the request of a step, with values for its placeholders. It waits for
// its turn for at most maxWait.
func (a *Client) RunStep(ctx context.Context, name string, values rules.Values, maxWait time.Duration) (*rules.Endpoint, gjson.Result, error) {
	e, err := a.Step(name)
	if err != nil {
		return nil, gjson.Result{}, err
	}
	r, err := e.Fill(values)
	if err != nil {
		return nil, gjson.Result{}, err
	}
	answer, err := a.Do(ctx, r, maxWait)
	return e, answer, err
}

// Customers reads the first size customers, the only read that the vendor documents
// (developers.chatvisor.com, "List all customers").
func (a *Client) Customers(ctx context.Context, size int) (gjson.Result, error) {
	return a.Do(ctx, rules.Request{
		Name: "GET /customer", Method: http.MethodGet, Path: "/customer",
		Query: url.Values{"pageNumber": {"0"}, "pageSize": {strconv.Itoa(size)}},
	}, PersonWait)
}
