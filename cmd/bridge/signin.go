package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
)

// oidcSettings are the variables of BRIDGE_SIGNIN=oidc.
type oidcSettings struct {
	Issuer       string `split_words:"true" desc:"address of the OpenID issuer, to the letter (oidc, needed)"`
	ClientID     string `split_words:"true" desc:"what the issuer calls the bridge (oidc, needed)"`
	ClientSecret string `split_words:"true" desc:"the client's secret at the issuer (oidc, needed)"`
	Scopes       string `split_words:"true" default:"profile,email" desc:"comma list of the scopes to ask for besides openid (oidc)"`
	Domains      string `split_words:"true" desc:"comma list of domains, of one of which an agent needs a verified e-mail address; empty: none needed (oidc)"`
	Groups       string `split_words:"true" desc:"comma list of groups, in one of which an agent needs to be; empty: none needed (oidc)"`
}

// headerSettings are the variables of BRIDGE_SIGNIN=header. The defaults are what
// oauth2-proxy sends: oauth2-proxy.github.io/oauth2-proxy/configuration/overview,
// --pass-user-headers.
type headerSettings struct {
	User   string `split_words:"true" default:"X-Forwarded-User" desc:"header with the agent's id (header)"`
	Email  string `split_words:"true" default:"X-Forwarded-Email" desc:"header with a verified e-mail address; off for none (header)"`
	Name   string `split_words:"true" default:"X-Forwarded-Preferred-Username" desc:"header with the agent's name; off for none (header)"`
	Groups string `split_words:"true" default:"X-Forwarded-Groups" desc:"header with a comma list of groups; off for none (header)"`
}

// The ways to know who is asking, as BRIDGE_SIGNIN names them.
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
	header    *signin.Header
	headers   []string // that header reads
}

// readSignIn reads the settings of the way to sign in that is chosen, and
// complains about those of another: whoever set them believes that they do
// something.
func (c *config) readSignIn(r *settings.Reader, b bridgeSettings, o oidcSettings, h headerSettings) {
	by := r.OneOf("BRIDGE_SIGNIN", b.Signin, byLink, byOIDC, byHeader)
	c.signIn.by = by
	c.signIn.linkEmail = r.Bool("BRIDGE_LINK_EMAIL", b.LinkEmail)
	idle := r.Duration("BRIDGE_SESSION_IDLE", b.SessionIdle, 10*time.Minute, 30*day)
	life := r.Duration("BRIDGE_SESSION_LIFE", b.SessionLife, 10*time.Minute, 30*day)
	only := func(variables []string, modes ...string) {
		for _, v := range variables {
			if by != "" && !slices.Contains(modes, by) && isSet(v) {
				r.Fault(v, "is set, and BRIDGE_SIGNIN is "+by+": remove it, or set BRIDGE_SIGNIN to "+strings.Join(modes, " or "))
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

func isSet(variable string) bool {
	return strings.TrimSpace(os.Getenv(variable)) != "" || os.Getenv(variable+"_FILE") != ""
}

func names(prefix string, spec any) (all []string) {
	for _, v := range settings.Variables(prefix, spec) {
		all = append(all, v.Name)
	}
	return all
}

// scopeForm is that of a scope: RFC 6749, 3.3.
var scopeForm = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)

func (c *config) readOIDC(r *settings.Reader, o oidcSettings) *signin.OIDCConfig {
	for _, needed := range [][2]string{
		{"BRIDGE_OIDC_ISSUER", o.Issuer}, {"BRIDGE_OIDC_CLIENT_ID", o.ClientID}, {"BRIDGE_OIDC_CLIENT_SECRET", o.ClientSecret},
	} {
		if needed[1] == "" {
			r.Fault(needed[0], "is not set, and BRIDGE_SIGNIN is oidc")
		}
	}
	read := &signin.OIDCConfig{
		ClientID: o.ClientID, ClientSecret: r.Secret("BRIDGE_OIDC_CLIENT_SECRET", o.ClientSecret),
		Scopes: settings.List(strings.ReplaceAll(o.Scopes, " ", ",")), Groups: settings.List(o.Groups),
		Domains: r.Hosts("BRIDGE_OIDC_DOMAINS", o.Domains),
		Origin:  c.origin, Secret: c.secret, OldSecret: c.secretOld, Sessions: store.AgentSessions{},
	}
	if r.URL("BRIDGE_OIDC_ISSUER", o.Issuer) != nil {
		read.Issuer = o.Issuer // to the letter, which a URL would change
	}
	for _, scope := range read.Scopes {
		if !scopeForm.MatchString(scope) {
			r.Fault("BRIDGE_OIDC_SCOPES", "must be a comma list of scopes, such as profile,email,groups")
			break
		}
	}
	// Domains are tried alone first, so that their fault names the variable.
	alone := signin.OIDCConfig{
		Issuer: "https://issuer.example", ClientID: "any", ClientSecret: "any", Domains: read.Domains,
		Origin: &url.URL{Scheme: "https", Host: "bridge.example"}, Secret: make([]byte, 32), Sessions: store.AgentSessions{},
	}
	if _, err := signin.NewOIDC(alone); err != nil {
		r.Fault("BRIDGE_OIDC_DOMAINS", "must be a comma list of domains of e-mail addresses, such as corp.example.org")
	} else if _, err := signin.NewOIDC(*read); err != nil && len(r.Faults()) == 0 {
		r.Fault("BRIDGE_OIDC_…", "does not fit together: "+err.Error())
	}
	return read
}

func (c *config) readHeader(r *settings.Reader, h headerSettings) {
	if len(c.proxies) == 0 && !isSet("BRIDGE_TRUSTED_PROXIES") {
		r.Fault("BRIDGE_TRUSTED_PROXIES", "is not set, and BRIDGE_SIGNIN is header: name the address of the proxy that signs people in")
	}
	var read, used []string
	for _, name := range []string{h.User, h.Email, h.Name, h.Groups} {
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
				r.Fault(alone.variable, "does not fit: "+err.Error())
			}
		}
	}
	made, err := signin.NewHeader(config)
	if err != nil && !faulty {
		r.Fault("BRIDGE_HEADER_…", "does not fit together: "+err.Error())
	}
	c.signIn.header, c.signIn.headers = made, used
}

// newOIDC makes the sign-in with an issuer, which keeps its sessions in db. It is
// nil where nobody signs in so. With no db it can only check the issuer.
func (c *config) newOIDC(db *store.Store) (*signin.OIDC, error) {
	if c.signIn.oidc == nil {
		return nil, nil
	}
	o := *c.signIn.oidc
	o.Log = c.log
	if db != nil {
		o.Sessions = db.AgentSessions()
	}
	return signin.NewOIDC(o)
}

// policyFile opens the policy. What is wrong with it is told line by line.
func policyFile(r *settings.Reader, path string) *policy.File {
	if path == "" {
		return policy.Fixed(policy.Default)
	}
	file, err := policy.Open(path)
	if cannot, ok := errors.AsType[*fs.PathError](err); ok {
		r.Fault("BRIDGE_POLICY_FILE", "names a file that cannot be read: "+cannot.Err.Error())
		return nil
	}
	for _, line := range linesOfFault(err) {
		r.Fault("BRIDGE_POLICY_FILE", "is wrong: "+line)
	}
	return file
}

// linesOfFault are the faults that an error is made of.
func linesOfFault(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}
