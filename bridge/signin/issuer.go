package signin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

const (
	issuerTimeout = 5 * time.Second // one request to the issuer
	discoveryLife = time.Hour       // then the issuer is asked what it is like again
	discoveryRest = 5 * time.Second // after it could not be asked
	maxAnswer     = 1 << 20         // bytes the issuer may answer with
)

// algorithms are those of signatures that only the issuer can make: with HS256
// everybody who knows the client's secret could, and with none anybody.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512,
	oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// An issuer is what there is to know of the OpenID issuer. It is asked when it
// is first needed, so that the bridge starts without it.
type issuer struct {
	url    *url.URL
	text   string // the URL as configured: issuers are compared to the letter
	client *http.Client

	asking singleflight.Group
	mu     sync.Mutex
	known  *metadata
	asked  time.Time
	err    error // of the newest attempt
}

// metadata is the issuer's own description, of which these are the parts used.
// https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	Userinfo      string   `json:"userinfo_endpoint"`
	Responses     []string `json:"response_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	ClientAuth    []string `json:"token_endpoint_auth_methods_supported"`
	// NamesItself is whether callbacks have iss (RFC 9207).
	NamesItself bool `json:"authorization_response_iss_parameter_supported"`

	keys *oidc.RemoteKeySet
}

func newIssuer(u *url.URL, text string, transport http.RoundTripper) *issuer {
	if transport == nil {
		transport = newTransport()
	}
	return &issuer{url: u, text: text, client: &http.Client{
		Transport: capped{transport},
		Timeout:   issuerTimeout,
		// What is sent holds secrets, and goes nowhere that the issuer did not name.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func newTransport() *http.Transport {
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

// capped bounds what is read of an answer, since not all who read it do.
type capped struct{ next http.RoundTripper }

func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	}
	return answer, err
}

// discover returns the issuer's description, asking for it where it is missing
// or old. Those who ask at once share one request, and right after a failure
// none is made. An old description is better than none.
func (i *issuer) discover(ctx context.Context) (*metadata, error) {
	if about, err := i.remembered(); about != nil || err != nil {
		return about, err
	}
	asked := i.asking.DoChan("", func() (any, error) {
		if about, err := i.remembered(); about != nil || err != nil {
			return about, err // somebody was quicker
		}
		about, err := i.ask(context.WithoutCancel(ctx))
		i.mu.Lock()
		defer i.mu.Unlock()
		i.asked, i.err = time.Now(), err
		if err == nil {
			if i.known != nil && i.known.Keys == about.Keys {
				about.keys = i.known.keys
			}
			i.known = about
		}
		if i.known == nil {
			return nil, err
		}
		return i.known, nil
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: ask what it is like: %s", ErrIssuer, reason(ctx.Err()))
	case answer := <-asked:
		about, _ := answer.Val.(*metadata)
		return about, answer.Err
	}
}

// remembered is what need not be asked again; nothing at all if it must be.
func (i *issuer) remembered() (*metadata, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	age := time.Since(i.asked)
	switch {
	case i.err == nil && age < discoveryLife, i.known != nil && age < discoveryRest:
		return i.known, nil
	case i.err != nil && age < discoveryRest:
		return nil, i.err
	}
	return nil, nil
}

// ask fetches the issuer's description and refuses one that cannot be used.
func (i *issuer) ask(ctx context.Context) (*metadata, error) {
	about := &metadata{}
	status, _, err := i.get(ctx, strings.TrimSuffix(i.text, "/")+"/.well-known/openid-configuration", "", about)
	if err != nil {
		return nil, fmt.Errorf("%w: ask what it is like: %s", ErrIssuer, reason(err))
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%w: ask what it is like: answered %d", ErrIssuer, status)
	}
	if err := i.usable(about); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssuer, err)
	}
	about.Algorithms = slices.DeleteFunc(about.Algorithms, func(name string) bool { return !slices.Contains(algorithms, name) })
	about.keys = oidc.NewRemoteKeySet(oidc.ClientContext(context.WithoutCancel(ctx), i.client), about.Keys)
	return about, nil
}

func (i *issuer) usable(about *metadata) error {
	if about.Issuer != i.text {
		return fmt.Errorf("it calls itself %q, not %q; the setting must say the same, to the letter", about.Issuer, i.text)
	}
	for _, endpoint := range []struct{ name, address string }{
		{"authorization_endpoint", about.Authorization}, {"token_endpoint", about.Token},
		{"jwks_uri", about.Keys}, {"userinfo_endpoint", about.Userinfo},
	} {
		if endpoint.address == "" && endpoint.name == "userinfo_endpoint" {
			continue
		}
		if u, err := url.Parse(endpoint.address); err != nil || safeURL(u) != nil {
			return fmt.Errorf("its %s is no https address", endpoint.name)
		}
	}
	signs := func(name string) bool { return slices.Contains(algorithms, name) }
	switch {
	case len(about.Algorithms) > 0 && !slices.ContainsFunc(about.Algorithms, signs):
		return errors.New("it signs with no algorithm that is safe here")
	case len(about.Responses) > 0 && !slices.Contains(about.Responses, "code"):
		return errors.New("it does not support the authorization code flow")
	case len(about.Challenges) > 0 && !slices.Contains(about.Challenges, "S256"):
		return errors.New("it does not support PKCE with S256")
	}
	return nil
}

// Check asks the issuer whether it is what the sign-in needs: its description,
// its keys, and its clock. The error is ErrIssuer or ErrClock, and says what to
// mend.
func (o *OIDC) Check(ctx context.Context) error {
	about, err := o.issuer.ask(ctx)
	if err != nil {
		return err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	status, header, err := o.issuer.get(ctx, about.Keys, "", &set)
	switch {
	case err != nil:
		return fmt.Errorf("%w: ask for its keys: %s", ErrIssuer, reason(err))
	case status != http.StatusOK:
		return fmt.Errorf("%w: ask for its keys: answered %d", ErrIssuer, status)
	case len(set.Keys) == 0:
		return fmt.Errorf("%w: it has no keys", ErrIssuer)
	}
	if theirs, err := http.ParseTime(header.Get("Date")); err == nil {
		if apart := time.Since(theirs); apart.Abs() > leeway {
			return fmt.Errorf("%w by %s", ErrClock, apart.Abs().Round(time.Second))
		}
	}
	return nil
}

// oauth2 is how to exchange codes with the issuer. The way to prove who we are
// is taken from its description and not tried out: a code must not be sent
// twice.
func (o *OIDC) oauth2(about *metadata) *oauth2.Config {
	style := oauth2.AuthStyleInHeader
	if len(about.ClientAuth) > 0 && !slices.Contains(about.ClientAuth, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID:     o.config.ClientID,
		ClientSecret: o.config.ClientSecret,
		Endpoint:     oauth2.Endpoint{AuthURL: about.Authorization, TokenURL: about.Token, AuthStyle: style},
		RedirectURL:  o.config.Origin.Scheme + "://" + o.config.Origin.Host + callbackPath,
		Scopes:       o.scopes,
	}
}

// get asks for JSON. An answer outside 200 is no error, and is not decoded.
func (i *issuer) get(ctx context.Context, address, bearer string, out any) (status int, header http.Header, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, errNotJSON
	}
	r.Header.Set("Accept", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer, err := i.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode, answer.Header, nil
	}
	switch err := json.NewDecoder(answer.Body).Decode(out); {
	case err == nil, timedOut(err):
		return answer.StatusCode, answer.Header, err
	}
	return 0, nil, errNotJSON
}

var errNotJSON = errors.New("the answer is not the JSON expected")

func timedOut(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// reason says why the issuer could not be asked. The error itself may hold
// addresses with secrets in them, or what the issuer was sent.
func reason(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case timedOut(err):
		return "timed out"
	case errors.Is(err, errNotJSON):
		return errNotJSON.Error()
	}
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		said := fmt.Sprintf("answered %d", refused.Response.StatusCode)
		if slices.Contains(oauthErrors, refused.ErrorCode) {
			said += " " + refused.ErrorCode
		}
		return said
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not accepted"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "no such host"
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return "no whole answer"
}

// oauthErrors are what a token endpoint may say (RFC 6749, 5.2).
var oauthErrors = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
}

// safeURL reports what makes u unfit to send secrets to.
func safeURL(u *url.URL) error {
	switch {
	case u == nil || u.Host == "" || u.Opaque != "":
		return errors.New("it has no host")
	case u.User != nil || u.Fragment != "":
		return errors.New("it may have no user and no fragment")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("it must begin with https:// (http:// is accepted for loopback only)")
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
