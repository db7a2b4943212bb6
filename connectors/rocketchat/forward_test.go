package rocketchat

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
)

// A receiver is the other system that needs the webhook.
type receiver struct {
	mu     sync.Mutex
	got    []*http.Request
	bodies [][]byte
	status int // 0 is 200
	header http.Header
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got, r.bodies = append(r.got, req), append(r.bodies, body)
	for k, v := range r.header {
		w.Header()[k] = v
	}
	if r.status != 0 {
		w.WriteHeader(r.status)
	}
	io.WriteString(w, "see https://crm.example.org/case/17")
}

func forwardingDesk(t *testing.T, r *receiver) *desk {
	t.Helper()
	return newDesk(t, func(c *Config) {
		c.ForwardURL = mustURL("https://crm.example.org/in?key=crm-key-Thoo9ieb")
		c.ForwardTransport = inMemory(r)
		c.Secrets = secret.All(testSecret, "the-next-secret-ohb6Ai")
	})
}

func (d *desk) forward(t *testing.T, r chat.Receipt) error {
	t.Helper()
	if r.Forward == nil {
		t.Fatal("there is nothing to forward")
	}
	return d.Connector.Forward(t.Context(), chat.Delivery{Key: r.Key, Body: r.Forward, Received: time.Now()})
}

func TestEveryEventIsForwardedUnchanged(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir("testdata/deliveries")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, secret := range []string{testSecret, "the-next-secret-ohb6Ai"} {
		for _, f := range files {
			name := strings.TrimSuffix(f.Name(), ".json")
			crm := new(receiver)
			d := forwardingDesk(t, crm)
			body := recorded(t, name) // with its line ends and spaces
			header := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
			header.Set(tokenHeader, secret)
			r, err := d.receipt(t, body, header)
			if err != nil {
				t.Fatal(name, err)
			}
			if err := d.forward(t, r); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := crm.got[0]
			if len(crm.got) != 1 || !bytes.Equal(crm.bodies[0], body) || got.Method != http.MethodPost ||
				got.URL.String() != "https://crm.example.org/in?key=crm-key-Thoo9ieb" ||
				got.Header.Get(tokenHeader) != secret || got.Header.Get("Content-Type") != "application/json; charset=utf-8" ||
				got.ContentLength != int64(len(body)) {
				t.Errorf("%s: %d requests, %s %s %v: %d bytes", name, len(crm.got), got.Method, got.URL, got.Header, len(crm.bodies[0]))
			}
			for _, h := range []string{"X-Auth-Token", "X-User-Id", "Authorization", "Cookie"} {
				if got.Header.Get(h) != "" {
					t.Errorf("%s: the receiver got the header %s", name, h)
				}
			}
			// The receiver's answer goes nowhere.
			if r.Answer != nil || len(d.Requests()) > 0 {
				t.Errorf("%s: answered %q, asked %v", name, r.Answer, d.routes(0))
			}
		}
	}
}

func TestAForgedEventIsNotForwarded(t *testing.T) {
	t.Parallel()
	crm := new(receiver)
	d := forwardingDesk(t, crm)
	h := http.Header{}
	h.Set(tokenHeader, "x"+testSecret)
	if r, err := d.receipt(t, recorded(t, "taken"), h); err == nil || r.Forward != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := d.receipt(t, []byte("{"), genuine()); err == nil || r.Forward != nil {
		t.Errorf("a body that is not JSON: %+v, %v", r, err)
	}
}

func TestWithoutAForwardURLNothingIsForwarded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r, err := d.receipt(t, recorded(t, "taken"), genuine())
	if err != nil || r.Forward != nil || d.Connector.Forward != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTheReceiversStatusDecidesWhetherAnEventIsRetried(t *testing.T) {
	t.Parallel()
	for status := 200; status < 600; status++ {
		crm := &receiver{status: status, header: http.Header{"Location": {"https://elsewhere.example/"}, "Retry-After": {"7"}}}
		d := forwardingDesk(t, crm)
		r, err := d.receipt(t, recorded(t, "taken"), genuine())
		if err != nil {
			t.Fatal(err)
		}
		err = d.forward(t, r)
		wait, limited := chat.RetryWait(err)
		got := map[bool]string{true: "permanent", false: "retry"}[chat.IsPermanent(err)]
		if limited {
			got = "wait"
		}
		if err == nil {
			got = "done"
		}
		want := "retry"
		switch {
		case status < 300:
			want = "done"
		case status == 429:
			want = "wait"
		case status == 413, status == 414, status == 415, status == 431:
			want = "permanent"
		}
		if got != want || limited && wait != 7*time.Second || len(crm.got) != 1 {
			t.Errorf("%d: %s, want %s (%v, wait %v, %d requests)", status, got, want, err, wait, len(crm.got))
		}
		if err != nil && (strings.Contains(err.Error(), "crm") || strings.Contains(err.Error(), testSecret)) {
			t.Errorf("%d: the error says %v", status, err)
		}
	}
}

func TestForwardingIsRetriedForADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		crm := &receiver{status: 503}
		d := forwardingDesk(t, crm)
		r, err := d.receipt(t, recorded(t, "taken"), genuine())
		if err != nil {
			t.Fatal(err)
		}
		delivery := chat.Delivery{Body: r.Forward, Received: time.Now()}
		for _, hours := range []int{1, 22} {
			time.Sleep(time.Duration(hours) * time.Hour)
			if err := d.Connector.Forward(t.Context(), delivery); err == nil || chat.IsPermanent(err) {
				t.Errorf("after %d h more: %v", hours, err)
			}
		}
		time.Sleep(2 * time.Hour)
		if err := d.Connector.Forward(t.Context(), delivery); !chat.IsPermanent(err) {
			t.Errorf("after a day: %v", err)
		}
		crm.status = 200
		if err := d.Connector.Forward(t.Context(), delivery); err != nil {
			t.Errorf("success after a day: %v", err)
		}
	})
}

func TestForwardingTimesOutIfTheReceiverHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, func(c *Config) {
			c.ForwardURL = mustURL("https://crm.example.org/in")
			c.ForwardTransport = transportFunc(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
		})
		r, _ := d.receipt(t, recorded(t, "taken"), genuine())
		begun := time.Now()
		err := d.forward(t, r)
		if err == nil || chat.IsPermanent(err) || time.Since(begun) != forwardTimeout || !strings.Contains(err.Error(), "timed out") {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestAStoredEventThatCannotBeReadFailsForGood(t *testing.T) {
	t.Parallel()
	crm := new(receiver)
	d := forwardingDesk(t, crm)
	for _, body := range []string{"", "{}", "\n", "{\n", `{"token":"a\nb"}` + "\n{}", `{"token":"a","type":"x\r\ny"}` + "\n{}"} {
		if err := d.Connector.Forward(t.Context(), chat.Delivery{Body: []byte(body), Received: time.Now()}); !chat.IsPermanent(err) || len(crm.got) > 0 {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// This test uses a real connection. It also checks that a redirect is not followed.
func TestTheReceiversAddressIsInNoError(t *testing.T) {
	t.Parallel()
	elsewhere := 0
	second := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, second.URL, http.StatusTemporaryRedirect)
	}))
	transport := &http.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); second.Close() })
	d := newDesk(t, func(c *Config) {
		c.ForwardURL, c.ForwardTransport = mustURL(first.URL+"/in?key=crm-key-Thoo9ieb"), transport
	})
	r, err := d.receipt(t, recorded(t, "taken"), genuine())
	if err != nil {
		t.Fatal(err)
	}
	redirected := d.forward(t, r)
	first.Close()
	refused := d.forward(t, r)
	for _, err := range []error{redirected, refused} {
		if err == nil || chat.IsPermanent(err) || strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "crm-key") || elsewhere > 0 {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzForward(f *testing.F) {
	f.Add([]byte(`{"token":"t","type":"application/json"}` + "\n{}"))
	f.Add([]byte("\n\n"))
	crm := new(receiver)
	forwards := newForwarder(mustURL("https://crm.example.org/in"), inMemory(crm))
	f.Fuzz(func(t *testing.T, kept []byte) {
		crm.got, crm.bodies = nil, nil
		err := forwards.forward(t.Context(), chat.Delivery{Body: kept, Received: time.Now()})
		if (err == nil) != (len(crm.got) == 1) || err != nil && !chat.IsPermanent(err) {
			t.Fatalf("%v, %d requests", err, len(crm.got))
		}
		if err == nil && !bytes.HasSuffix(kept, append([]byte("\n"), crm.bodies[0]...)) {
			t.Fatalf("%q was sent as %q", kept, crm.bodies[0])
		}
		// forward sends exactly what pack got.
		packed, err := pack(http.Header{"Content-Type": {string(kept)}}, kept)
		if err != nil || forwards.forward(t.Context(), chat.Delivery{Body: packed, Received: time.Now()}) != nil {
			t.Fatal("a packed event is not sent")
		}
		if got := crm.bodies[len(crm.bodies)-1]; !bytes.Equal(got, kept) {
			t.Fatalf("%q was sent as %q", kept, got)
		}
	})
}
