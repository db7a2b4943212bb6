package signin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/requestid"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

const (
	issuerTimeout    = 5 * time.Second // for one request to the issuer
	discoveryLife    = time.Hour       // how long the discovery document is cached
	discoveryBackoff = 5 * time.Second // the pause after a failed request for it
	maxAnswer        = 1 << 20         // the maximum size of an answer in bytes
)

// algorithms are the accepted signature algorithms: those with a private key that only the issuer has. With
// HS256 everyone who knows the client's secret can sign, and with "none" anyone.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512,
	oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// An issuer is the OpenID issuer with its cached discovery document. The document is fetched when it is
// first needed, so that the bridge starts even if the issuer is down.
type issuer struct {
	url    *url.URL
	text   string // the URL as configured, since issuers are compared exactly
	client *http.Client
	// keysClient fetches key sets. Its transport, keyFilter, removes keys that cannot be used.
	keysClient *http.Client
	keyFilter  *keyFilter

	fetches   singleflight.Group
	mu        sync.Mutex
	cached    *metadata
	lastFetch time.Time // when the last request ended
	lastErr   error     // the error of the last request
}

// metadata is the issuer's discovery document, with the fields that are used here.
// https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata
type metadata struct {
	Issuer, Authorization, Token, Keys, Userinfo string

	Responses, Challenges, ClientAuth []string
	// Algorithms are those for ID tokens; UserinfoAlgorithms are those for signed userinfo answers.
	Algorithms, UserinfoAlgorithms []string
	// NamesItself says that callbacks have the parameter iss (RFC 9207).
	NamesItself bool

	keySet *oidc.RemoteKeySet
}

// readMetadata reads a discovery document. A field of an unexpected type counts as missing.
func readMetadata(document claims) *metadata {
	return &metadata{
		Issuer:        document.text("issuer"),
		Authorization: document.text("authorization_endpoint"),
		Token:         document.text("token_endpoint"),
		Keys:          document.text("jwks_uri"),
		Userinfo:      document.text("userinfo_endpoint"),

		Responses:          document.names("response_types_supported"),
		Challenges:         document.names("code_challenge_methods_supported"),
		ClientAuth:         document.names("token_endpoint_auth_methods_supported"),
		Algorithms:         document.names("id_token_signing_alg_values_supported"),
		UserinfoAlgorithms: document.names("userinfo_signing_alg_values_supported"),

		NamesItself: document.isTrue("authorization_response_iss_parameter_supported"),
	}
}

func newIssuer(u *url.URL, text string, transport http.RoundTripper, log *slog.Logger) *issuer {
	if transport == nil {
		transport = NewTransport()
	}
	transport = capped{transport}
	keys := &keyFilter{next: transport, log: log}
	return &issuer{url: u, text: text, keyFilter: keys, client: newClient(transport), keysClient: newClient(keys)}
}

func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport,
		Timeout:   issuerTimeout,
		// Requests contain secrets, so they go only to addresses in the discovery document.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// NewTransport returns a transport for requests to the issuer.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           8,
		MaxIdleConnsPerHost:    8,
		MaxConnsPerHost:        32,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    3 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// capped limits the size of answers, because not all code that reads an answer limits it.
type capped struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	}
	return answer, err
}

// discover returns the discovery document from the cache, or from the issuer if it is missing or old.
// Simultaneous calls share one request. For discoveryBackoff after a failure it makes no request: it returns
// the old document, or else the last error.
func (i *issuer) discover(ctx context.Context) (*metadata, error) {
	if doc, ok, err := i.fromCache(); ok {
		return doc, err
	}
	result := i.fetches.DoChan("", func() (any, error) {
		if doc, ok, err := i.fromCache(); ok {
			return doc, err // another call has just finished
		}
		return i.remember(i.fetchMetadata(context.WithoutCancel(ctx)))
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: its configuration (/.well-known/openid-configuration) cannot be read: %s", ErrIssuer, reason(ctx.Err()))
	case done := <-result:
		doc, _ := done.Val.(*metadata)
		return doc, done.Err
	}
}

// fromCache returns the cached document or error. ok is false if the document must be fetched.
func (i *issuer) fromCache() (doc *metadata, ok bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	age := time.Since(i.lastFetch)
	switch {
	case i.cached != nil && i.lastErr == nil && age < discoveryLife: // fresh
		return i.cached, true, nil
	case i.cached != nil && age < discoveryBackoff: // old, but the last request failed
		return i.cached, true, nil
	case i.lastErr != nil && age < discoveryBackoff:
		return nil, true, i.lastErr
	}
	return nil, false, nil
}

// remember stores the result of a request, and returns what discover must return.
func (i *issuer) remember(doc *metadata, err error) (*metadata, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lastFetch, i.lastErr = time.Now(), err
	if err == nil {
		if i.cached != nil && i.cached.Keys == doc.Keys {
			doc.keySet = i.cached.keySet // it has the keys in a cache
		}
		i.cached = doc
	}
	if i.cached == nil {
		return nil, err
	}
	return i.cached, nil
}

// fetchMetadata gets the discovery document from the issuer, and refuses one that cannot be used.
func (i *issuer) fetchMetadata(ctx context.Context) (*metadata, error) {
	raw := claims{}
	const path = "/.well-known/openid-configuration"
	if _, err := i.getJSON(requestid.WithRoute(ctx, "configuration"), "its configuration ("+path+")", strings.TrimSuffix(i.text, "/")+path, &raw); err != nil {
		return nil, err
	}
	doc := readMetadata(raw)
	if err := i.checkUsable(doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssuer, err)
	}
	notAccepted := func(algorithm string) bool { return !accepted(algorithm) }
	doc.Algorithms = slices.DeleteFunc(doc.Algorithms, notAccepted)
	doc.UserinfoAlgorithms = slices.DeleteFunc(doc.UserinfoAlgorithms, notAccepted)
	if len(doc.UserinfoAlgorithms) == 0 {
		doc.UserinfoAlgorithms = doc.Algorithms
	}
	doc.keySet = oidc.NewRemoteKeySet(oidc.ClientContext(keysContext(ctx), i.keysClient), doc.Keys)
	return doc, nil
}

// keysContext returns the context of all requests for a key set. They belong to no single sign-in.
func keysContext(ctx context.Context) context.Context {
	return requestid.With(requestid.WithRoute(context.WithoutCancel(ctx), "keys"), "")
}

// getJSON gets a JSON document and decodes it into out. name appears in the error, which wraps ErrIssuer.
func (i *issuer) getJSON(ctx context.Context, name, address string, out any) (http.Header, error) {
	answer, err := i.fetch(ctx, address, "", "application/json")
	if err == nil && answer.status != http.StatusOK {
		return nil, fmt.Errorf("%w: %s cannot be read: HTTP status %d", ErrIssuer, name, answer.status)
	}
	if err == nil {
		err = readJSON(answer.body, out)
	}
	if proxy, ok := errors.AsType[*network.ProxyError](err); ok {
		return nil, fmt.Errorf("%w: %s cannot be read: %w", ErrIssuer, name, proxy)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s cannot be read: %s", ErrIssuer, name, reason(err))
	}
	return answer.header, nil
}

// accepted reports whether a signature algorithm is one of algorithms.
func accepted(algorithm string) bool { return slices.Contains(algorithms, algorithm) }

// checkUsable returns an error that says why the bridge cannot use the issuer.
func (i *issuer) checkUsable(doc *metadata) error {
	if doc.Issuer != i.text {
		return fmt.Errorf("its issuer is %.200q, not %q; the setting must be exactly the same", doc.Issuer, i.text)
	}
	for _, endpoint := range []struct{ name, address string }{
		{"authorization_endpoint", doc.Authorization}, {"token_endpoint", doc.Token},
		{"jwks_uri", doc.Keys}, {"userinfo_endpoint", doc.Userinfo},
	} {
		if endpoint.address == "" && endpoint.name == "userinfo_endpoint" {
			continue
		}
		if _, err := parseSafeURL(endpoint.address); err != nil {
			return fmt.Errorf("its %s %w", endpoint.name, err)
		}
	}
	switch {
	case len(doc.Algorithms) > 0 && !slices.ContainsFunc(doc.Algorithms, accepted):
		return errors.New("it supports no safe signature algorithm")
	case len(doc.Responses) > 0 && !slices.Contains(doc.Responses, "code"):
		return errors.New("it does not support the authorization code flow")
	case i.pkce() && len(doc.Challenges) > 0 && !slices.Contains(doc.Challenges, "S256"):
		return errors.New("it does not support PKCE with S256")
	}
	return nil
}

// pkce reports whether sign-ins use PKCE. Sign-ins with Slack do not: a Slack app accepts PKCE only after its
// owner enables it. That makes the app a public client and cannot be undone
// (https://docs.slack.dev/authentication/using-pkce).
func (i *issuer) pkce() bool { return i.text != slackIssuer }

// Check checks the issuer for `bridge check`: its discovery document, its keys, its clock, and whether the
// userinfo endpoint answers. The error is ErrIssuer, ErrClock or ErrUserinfo, and says what is wrong. ahead
// is how far this machine's clock is ahead of the issuer's, or zero if that is not known.
func (o *OIDC) Check(ctx context.Context) (ahead time.Duration, err error) {
	doc, err := o.issuer.fetchMetadata(ctx)
	if err != nil {
		return 0, err
	}
	var set json.RawMessage
	header, err := o.issuer.getJSON(requestid.WithRoute(ctx, "keys"), "its keys", doc.Keys, &set)
	if err != nil {
		return 0, err
	}
	_, unusable, err := readKeys(set)
	o.issuer.keyFilter.warn(unusable)
	if err != nil {
		return 0, fmt.Errorf("%w: its keys cannot be read: %s", ErrIssuer, reason(err))
	}
	if theirs, err := http.ParseTime(header.Get("Date")); err == nil {
		if ahead = time.Since(theirs); ahead.Abs() > leeway {
			return ahead, fmt.Errorf("%w by %s", ErrClock, ahead.Abs().Round(time.Second))
		}
	}
	return ahead, o.checkUserinfo(ctx, doc)
}

// oauthConfig returns the configuration for the exchange of codes. AuthStyle is set from the discovery
// document, because AuthStyleAutoDetect may send the code twice.
func (o *OIDC) oauthConfig(doc *metadata) *oauth2.Config {
	style := oauth2.AuthStyleInHeader
	if len(doc.ClientAuth) > 0 && !slices.Contains(doc.ClientAuth, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID:     o.config.ClientID,
		ClientSecret: o.config.ClientSecret,
		Endpoint:     oauth2.Endpoint{AuthURL: doc.Authorization, TokenURL: doc.Token, AuthStyle: style},
		RedirectURL:  o.config.Origin.Scheme + "://" + o.config.Origin.Host + callbackPath,
		Scopes:       o.scopes,
	}
}

// A response is the issuer's answer to a GET request. It has a body if the status is 200.
type response struct {
	status int
	header http.Header
	body   []byte
}

// fetch makes a GET request, with bearer as the token if it is not empty, and accept as the header Accept. A
// status other than 200 is not an error; its body is not read.
func (i *issuer) fetch(ctx context.Context, address, bearer, accept string) (response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return response{}, err
	}
	r.Header.Set("Accept", accept)
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	got, err := i.client.Do(r)
	if err != nil {
		return response{}, err
	}
	defer got.Body.Close()
	a := response{status: got.StatusCode, header: got.Header}
	if a.status == http.StatusOK {
		a.body, err = io.ReadAll(got.Body)
	}
	return a, err
}

// readJSON decodes JSON into out. Its error is errNotJSON.
func readJSON(body []byte, out any) error {
	if json.Unmarshal(body, out) != nil {
		return errNotJSON
	}
	return nil
}

var errNotJSON = errors.New("the answer is not the expected JSON")

func timedOut(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// reason returns a short description of a failed request. It does not use the text of net/http's error,
// which may contain secrets.
func reason(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case timedOut(err):
		return "timed out"
	}
	if proxy, ok := errors.AsType[*network.ProxyError](err); ok {
		return proxy.Error()
	}
	for _, plain := range []error{errNotJSON, errNoKeys, errNoUsableKeys} {
		if errors.Is(err, plain) {
			return plain.Error()
		}
	}
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		text := fmt.Sprintf("HTTP status %d", refused.Response.StatusCode)
		if plainCode.MatchString(refused.ErrorCode) {
			text += " " + refused.ErrorCode
		}
		return text
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not accepted"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "cannot resolve the host name"
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return "the connection failed"
}

// parseSafeURL parses an address to which secrets may be sent. Its error continues a sentence about it.
func parseSafeURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("is not an address")
	}
	return u, safeURL(u)
}

// safeURL returns an error if secrets must not be sent to u. The error continues a sentence about u.
func safeURL(u *url.URL) error {
	switch {
	case u == nil || u.Host == "" || u.Opaque != "":
		return errors.New("has no host")
	case u.User != nil || u.Fragment != "":
		return errors.New("must not have a user or a fragment")
	case u.Scheme == "https", u.Scheme == "http" && netaddr.Loopback(u.Hostname()):
		return nil
	}
	return errors.New("must begin with https:// (http:// is accepted for loopback only)")
}
