package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
	"cobrowse-bridge/bridge/store"
)

// people are the users of the sign-in service.
var people = []signintest.User{
	{Sub: "ada", Name: "Ada Lovelace", Email: "ada@corp.example", Groups: []string{"agents", "leads"}},
	{Sub: "eve", Name: "Eve", Email: "eve@corp.example", Groups: []string{"agents"}},
}

// signInto signs a user in, in a new browser, with the script's settings and database.
func signInto(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: signin SUBJECT")
	}
	key, err := base64.StdEncoding.DecodeString(ts.Getenv("BRIDGE_SECRET"))
	ts.Check(err)
	ctx := context.Background()
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(ts.Getenv("WORK"), "bridge.db"), store.Options{Secret: key})
	ts.Check(err)
	at, err := url.Parse(ts.Getenv("BRIDGE_ORIGIN"))
	ts.Check(err)
	issuer := signintest.New(signintest.Config{
		URL: ts.Getenv("BRIDGE_OIDC_ISSUER"), ClientID: ts.Getenv("BRIDGE_OIDC_CLIENT_ID"), ClientSecret: ts.Getenv("BRIDGE_OIDC_CLIENT_SECRET"),
		Redirect: at.JoinPath("signin/callback").String(), Users: people, SignedIn: args[0],
	})
	oidc, err := signin.NewOIDC(signin.OIDCConfig{
		Issuer: ts.Getenv("BRIDGE_OIDC_ISSUER"), ClientID: ts.Getenv("BRIDGE_OIDC_CLIENT_ID"), ClientSecret: ts.Getenv("BRIDGE_OIDC_CLIENT_SECRET"),
		Origin: at, Secret: bytes.Clone(key), Sessions: db.AgentSessions(), Transport: issuer.Transport(),
	})
	ts.Check(err)

	begun := httptest.NewRecorder()
	ts.Check(oidc.Begin(begun, httptest.NewRequest(http.MethodGet, "/signin", nil), "/"))
	asked, err := http.NewRequestWithContext(ctx, http.MethodGet, begun.Header().Get("Location"), nil)
	ts.Check(err)
	sent, err := issuer.Transport().RoundTrip(asked)
	ts.Check(err)
	back := httptest.NewRequest(http.MethodGet, sent.Header.Get("Location"), nil)
	for _, c := range begun.Result().Cookies() {
		back.AddCookie(c)
	}
	_, _, err = oidc.Finish(httptest.NewRecorder(), back)
	ts.Check(err)
	ts.Check(db.Close())
}
