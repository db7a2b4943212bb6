package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/session"
	"cobrowse-bridge/connectors"
)

// oidcSettings are the variables of BRIDGE_SIGNIN=oidc.
type oidcSettings struct {
	Issuer       string `split_words:"true" desc:"address of your identity provider, exactly as it writes its issuer; required with BRIDGE_SIGNIN=oidc"`
	ClientID     string `split_words:"true" desc:"client id of the bridge at the identity provider; required with BRIDGE_SIGNIN=oidc"`
	ClientSecret string `split_words:"true" desc:"client secret of the bridge at the identity provider; required with BRIDGE_SIGNIN=oidc"`
	Proxy        string `split_words:"true" desc:"proxy for calls to the identity provider: http://…, https://…, socks5://… or direct; empty: HTTPS_PROXY and NO_PROXY; only with BRIDGE_SIGNIN=oidc"`
	Scopes       string `split_words:"true" default:"profile,email" desc:"comma-separated scopes to request in addition to openid; only with BRIDGE_SIGNIN=oidc"`
	Audiences    string `split_words:"true" desc:"for providers such as Oracle IDCS: comma-separated ids of other clients that an ID token without azp may name as its audience besides the bridge; only with BRIDGE_SIGNIN=oidc"`
	Domains      string `split_words:"true" desc:"comma-separated domains; an agent needs a verified e-mail address at one of them; empty: not needed; only with BRIDGE_SIGNIN=oidc"`
	Groups       string `split_words:"true" desc:"comma-separated groups; an agent must be in one of them; empty: not needed; only with BRIDGE_SIGNIN=oidc"`
}

// headerSettings are the variables of BRIDGE_SIGNIN=header. The defaults are what
// oauth2-proxy sends: oauth2-proxy.github.io/oauth2-proxy/configuration/overview,
// --pass-user-headers.
type headerSettings struct {
	User   string `split_words:"true" default:"X-Forwarded-User" desc:"header with the agent's id; required, only with BRIDGE_SIGNIN=header"`
	Email  string `split_words:"true" default:"X-Forwarded-Email" desc:"header with a verified e-mail address; off: no such header; only with BRIDGE_SIGNIN=header"`
	Name   string `split_words:"true" default:"X-Forwarded-Preferred-Username" desc:"header with the agent's name; off: no such header; only with BRIDGE_SIGNIN=header"`
	Groups string `split_words:"true" default:"X-Forwarded-Groups" desc:"header with comma-separated groups; off: no such header; only with BRIDGE_SIGNIN=header"`
}

// The values of BRIDGE_SIGNIN.
const (
	byLink   = "link"
	byOIDC   = "oidc"
	byHeader = "header"
)

// signInConfig says how agents sign in.
type signInConfig struct {
	by        string
	linkEmail bool
	oidc      *signin.OIDCConfig // without the store
	header    *signin.HeaderConfig
	headers   []string // names of the headers that header reads
}

// readSignIn reads the settings of the chosen way to sign in. A setting of another
// way is a fault, because it would have no effect.
func (c *config) readSignIn(r *settings.Reader, b bridgeSettings, o oidcSettings, h headerSettings) {
	by := r.OneOf("BRIDGE_SIGNIN", b.Signin, byLink, byOIDC, byHeader)
	c.signIn.by = by
	c.signIn.linkEmail = r.Bool("BRIDGE_LINK_EMAIL", b.LinkEmail)
	idle := r.Duration("BRIDGE_SESSION_IDLE", b.SessionIdle, 10*time.Minute, 30*day)
	life := r.Duration("BRIDGE_SESSION_LIFE", b.SessionLife, 10*time.Minute, 30*day)
	only := func(variables []string, modes ...string) {
		for _, v := range variables {
			if by != "" && !slices.Contains(modes, by) && settings.IsSet(v) {
				r.AddFault(v, "has no effect with BRIDGE_SIGNIN="+by+": remove it, or set BRIDGE_SIGNIN to "+strings.Join(modes, " or "))
			}
		}
	}
	only([]string{"BRIDGE_LINK_LIFE"}, byLink)
	only([]string{"BRIDGE_CARD_LIFE", "BRIDGE_LINK_EMAIL"}, byOIDC, byHeader)
	only([]string{"BRIDGE_SESSION_IDLE", "BRIDGE_SESSION_LIFE"}, byOIDC)
	only(names("BRIDGE_OIDC", &oidcSettings{}), byOIDC)
	only(names("BRIDGE_HEADER", &headerSettings{}), byHeader)
	switch by {
	case byOIDC:
		c.signIn.oidc = c.readOIDC(r, o)
		c.signIn.oidc.Idle, c.signIn.oidc.Life = idle, life
	case byHeader:
		c.readHeader(r, h)
	}
}

func names(prefix string, spec any) (all []string) {
	for _, v := range settings.Variables(prefix, spec) {
		all = append(all, v.Name)
	}
	return all
}

// scopeForm is the form of a scope: RFC 6749, 3.3.
var scopeForm = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)

func (c *config) readOIDC(r *settings.Reader, o oidcSettings) *signin.OIDCConfig {
	for _, needed := range [][3]string{
		{"BRIDGE_OIDC_ISSUER", o.Issuer, "the address of your identity provider, as it writes its issuer"},
		{"BRIDGE_OIDC_CLIENT_ID", o.ClientID, "the client id of the bridge at your identity provider"},
		{"BRIDGE_OIDC_CLIENT_SECRET", o.ClientSecret, "the client secret of the bridge at your identity provider"},
	} {
		if needed[1] == "" {
			r.AddFault(needed[0], "is not set, and is required with BRIDGE_SIGNIN=oidc. Set it to "+needed[2]+", see deploy/signin.md")
		}
	}
	read := &signin.OIDCConfig{
		ClientID: o.ClientID, ClientSecret: r.Secret("BRIDGE_OIDC_CLIENT_SECRET", o.ClientSecret),
		Scopes: settings.List(strings.ReplaceAll(o.Scopes, " ", ",")), Groups: settings.List(o.Groups),
		Audiences: settings.List(o.Audiences),
		Origin:    c.origin, Secret: c.secret, OldSecret: c.secretOld, Sessions: session.Store{},
	}
	if strings.ContainsAny(o.Domains, "@*") {
		r.AddFault("BRIDGE_OIDC_DOMAINS", "must be comma-separated domains without @ and *, such as example.org: name each subdomain")
	} else {
		read.Domains = r.Hosts("BRIDGE_OIDC_DOMAINS", o.Domains)
	}
	if r.URL("BRIDGE_OIDC_ISSUER", o.Issuer) != nil {
		read.Issuer = o.Issuer // as it was set: URL.String may write it differently
	}
	for _, scope := range read.Scopes {
		if !scopeForm.MatchString(scope) {
			r.AddFault("BRIDGE_OIDC_SCOPES", "must be comma-separated scopes, such as profile,email,groups")
			break
		}
	}
	// The domains are first tried alone, so that a fault names their variable.
	alone := signin.OIDCConfig{
		Issuer: "https://issuer.example", ClientID: "any", ClientSecret: "any", Domains: read.Domains,
		Origin: &url.URL{Scheme: "https", Host: "bridge.example"}, Secret: make([]byte, 32), Sessions: session.Store{},
	}
	if _, err := signin.NewOIDC(alone); err != nil && len(read.Domains) > 0 {
		r.AddFault("BRIDGE_OIDC_DOMAINS", "must be comma-separated domains of e-mail addresses, such as corp.example.org")
	} else if _, err := signin.NewOIDC(*read); err != nil && len(r.Faults()) == 0 {
		r.AddFault("BRIDGE_OIDC_ISSUER", "and the other BRIDGE_OIDC_ settings are not valid together: "+err.Error())
	}
	return read
}

func (c *config) readHeader(r *settings.Reader, h headerSettings) {
	if len(c.proxies) == 0 && !settings.IsSet("BRIDGE_TRUSTED_PROXIES") {
		r.AddFault("BRIDGE_TRUSTED_PROXIES", "is not set, and is required with BRIDGE_SIGNIN=header: set the IP address of the proxy that signs agents in")
	}
	var read, used []string
	for i, name := range []string{h.User, h.Email, h.Name, h.Groups} {
		if name == switchedOff && i == 0 {
			r.AddFault("BRIDGE_HEADER_USER", "is required and cannot be off")
			return
		}
		if name == switchedOff {
			name = ""
		} else {
			used = append(used, name)
		}
		read = append(read, name)
	}
	config := signin.HeaderConfig{User: read[0], Email: read[1], Name: read[2], Groups: read[3], Proxies: c.proxies}
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	faulty := false
	for _, alone := range []struct {
		variable string
		signin.HeaderConfig
	}{
		{"BRIDGE_HEADER_USER", signin.HeaderConfig{User: config.User, Proxies: loopback}},
		{"BRIDGE_HEADER_EMAIL", signin.HeaderConfig{User: "Any", Email: config.Email, Proxies: loopback}},
		{"BRIDGE_HEADER_NAME", signin.HeaderConfig{User: "Any", Name: config.Name, Proxies: loopback}},
		{"BRIDGE_HEADER_GROUPS", signin.HeaderConfig{User: "Any", Groups: config.Groups, Proxies: loopback}},
		{"BRIDGE_TRUSTED_PROXIES", signin.HeaderConfig{User: "Any", Proxies: c.proxies}},
	} {
		if _, err := signin.NewHeader(alone.HeaderConfig); err != nil {
			faulty = true
			if alone.variable != "BRIDGE_TRUSTED_PROXIES" || len(c.proxies) > 0 {
				r.AddFault(alone.variable, "is not valid: "+err.Error())
			}
		}
	}
	if _, err := signin.NewHeader(config); err != nil && !faulty {
		r.AddFault("BRIDGE_HEADER_USER", "and the other BRIDGE_HEADER_ settings are not valid together: "+err.Error())
	}
	c.signIn.header, c.signIn.headers = &config, used
}

// newHeader makes the sign-in by a proxy's headers. It returns nil if BRIDGE_SIGNIN is not header.
func (c *config) newHeader() (*signin.Header, error) {
	if c.signIn.header == nil {
		return nil, nil
	}
	h := *c.signIn.header
	h.Log = c.log
	return signin.NewHeader(h)
}

// newOIDC makes the sign-in with OpenID Connect, which keeps its sessions in db. It
// returns nil if BRIDGE_SIGNIN is not oidc. With a nil db it can only check the issuer.
func (c *config) newOIDC(db *store.Store) (*signin.OIDC, error) {
	if c.signIn.oidc == nil {
		return nil, nil
	}
	o := *c.signIn.oidc
	o.Log = c.log
	o.Transport = c.calls.Transport("issuer", c.signIn.oidc.Transport)
	if db != nil {
		o.Sessions = db.AgentSessions()
	}
	return signin.NewOIDC(o)
}

// policyFile opens the policy file. Each fault in the file is a fault of its own.
func policyFile(r *settings.Reader, path string) *policy.File {
	if path == "" {
		return policy.Fixed(policy.Default)
	}
	file, err := policy.Open(path, connectors.Names()...)
	if cannot, ok := errors.AsType[*fs.PathError](err); ok {
		r.AddFault("BRIDGE_POLICY_FILE", "names a file that cannot be read: "+cannot.Err.Error())
		return nil
	}
	for _, line := range errorLines(err) {
		r.AddFault("BRIDGE_POLICY_FILE", "has a fault: "+line)
	}
	return file
}

// errorLines returns the lines of an error's text, and none for a nil error.
func errorLines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}
