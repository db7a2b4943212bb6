package rest

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
)

func TestWhatToDoAfterARefusal(t *testing.T) {
	t.Parallel()
	codes := Codes{Final: []string{"error-invalid-user"}, Limits: []string{"too-many-requests"}}
	for _, c := range []struct {
		status int
		code   string
		want   NextStep
	}{
		// The code decides first.
		{400, "error-invalid-user", GiveUp},
		{404, "error-invalid-user", GiveUp},
		{503, "error-invalid-user", GiveUp},
		{400, "too-many-requests", Wait},
		// Then the status.
		{429, "", Wait},
		{429, "brand-new-word", Wait},
		{413, "", GiveUp}, {414, "", GiveUp}, {415, "", GiveUp}, {431, "", GiveUp},
		// Everything else is temporary.
		{400, "restricted-workspace", Retry}, {400, "brand-new-word", Retry}, {400, "", Retry},
		{301, "", Retry}, {401, "", Retry}, {403, "", Retry}, {404, "", Retry}, {405, "", Retry}, {408, "", Retry},
		{409, "", Retry}, {410, "", Retry}, {422, "", Retry}, {425, "", Retry}, {500, "", Retry}, {503, "", Retry},
	} {
		if got := codes.Next(c.status, c.code); got != c.want {
			t.Errorf("%d %q: %d, want %d", c.status, c.code, got, c.want)
		}
		err := codes.Mark(errors.New("refused"), c.status, c.code, 7*time.Second)
		wait, waits := chat.RetryWait(err)
		if waits != (c.want == Wait) || waits && wait != 7*time.Second || chat.IsPermanent(err) != (c.want == GiveUp) {
			t.Errorf("%d %q is marked as %#v, want %d", c.status, c.code, err, c.want)
		}
	}
	for status := 300; status < 600; status++ {
		if got := (Codes{}).Next(status, ""); status == http.StatusTooManyRequests && got != Wait || status >= 500 && got != Retry {
			t.Errorf("%d: %d", status, got)
		}
	}
}

func TestTheCodeOfARefusalIsInItsError(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"success":false,"error":"restricted-workspace"}`:                                    "restricted-workspace",
		`{"success":false,"error":"Message editing not allowed","errorType":"error-blocked"}`: "error-blocked",
		`{"error":"You must wait 2 seconds. [error-too-many-requests]"}`:                      "error-too-many-requests",
		`{"error":"unauthorized"}`:                                                            "unauthorized",
		`{"ok":false,"error":"brand_new_word"}`:                                               "brand_new_word",
		`{"code":"CUSTOMER_NOT_FOUND","message":"no customer Ann"}`:                           "CUSTOMER_NOT_FOUND",
		`{"error":{"code":"quota.exceeded","message":"Ann Silva"}}`:                           "quota.exceeded",
		`{"error":{"code":404},"errorType":"error-invalid-2fa"}`:                              "error-invalid-2fa",
		`{"errorType":7,"code":12,"error":"error-room-not-found"}`:                            "error-room-not-found",
		// What may be a text, a person's data or a credential is not shown.
		`{"error":"Not Allowed"}`: "", `{"error":"ann@example.org"}`: "", `{"error":"+351912345678"}`: "", `{"error":"555-123-4567"}`: "",
		`{"error":"tohw4oGhaekoor1O"}`: "", `{"error":"tohw4oghaekoor1o"}`: "", `{"error":"` + token + `"}`: "",
		`{"error":"xoxb-123456789012-abcdef"}`: "", `{"error":"0197f3b2-6a51-7000-8000-1f2e3d4c5b6a"}`: "",
		`{"error":"https://evil.example"}`: "", `{"error":"line\nbreak"}`: "", `{"error":"-dash"}`: "", `{"error":"a--b"}`: "",
		`{"error":"x"}`: "", `{"error":"` + strings.Repeat("x", 61) + `"}`: "", `{"error":404}`: "", `{"error":["a-b"]}`: "",
		`"a-word"`: "", `null`: "", `<html>`: "", ``: "", `{"error":{"error":{"error":"deep-word"}}}`: "deep-word",
	} {
		err := &StatusError{Op: "GET me", Status: 400, Body: []byte(body)}
		text := "GET me: answered 400 Bad Request"
		if want != "" {
			text += " (" + want + ")"
		}
		if err.Code() != want || err.Error() != text {
			t.Errorf("%s: code %q in %q", body, err.Code(), err)
		}
	}
}

func FuzzCode(f *testing.F) {
	f.Add([]byte(`{"error":"x [restricted-workspace]","errorType":"y"}`))
	f.Add([]byte(`{"error":{"code":"quota.exceeded"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		code := (&StatusError{Body: body}).Code()
		if code != "" && (!IsCode(code) || len(code) > maxCode || strings.ContainsAny(code, " \n\"[]@/:")) {
			t.Errorf("the code of %q is %q", body, code)
		}
	})
}
