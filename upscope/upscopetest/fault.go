package upscopetest

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is one way to fail, or several at once. Zero fields change nothing.
type Fault struct {
	// Before the call is handled.
	Met   func()        // called first; a test may wait for it
	Delay time.Duration // wait this long, then continue
	Hang  bool          // never answer; the call has no effect
	Drop  bool          // close the connection without an answer; the call has no effect

	// Instead of handling the call, answer with Status, or with 200 if it is 0.
	Status     int    // this status
	Body       string // this body, as HTML if it begins with <, else as JSON
	Code       string // the body {"status":"error","error":Code}
	RedirectTo string // a redirect to this address, by default with status 302
	Size       int64  // a JSON body of this many bytes
	Depth      int    // JSON nested this deep
	WrongTypes bool   // JSON in which every field has a wrong type
	Duplicate  bool   // JSON in which names are repeated

	// After the call is handled, or with any of the above.
	RetryAfter    string
	Header        http.Header
	WatchURL      string        // the link in the answer of Watch
	Expiration    string        // the expiration in the answer of Watch, as JSON
	Truncate      bool          // close the connection in the middle of the body
	Reset         bool          // reset the connection in the middle of the body
	ContentLength int           // send this Content-Length
	Drip          time.Duration // send one byte at a time, with this pause
}

type activeFault struct {
	endpoint  Endpoint
	fault     Fault
	remaining int
}

// Fail makes the next calls of an endpoint fail: as many as times, or all until Heal if times is negative. Several
// faults of an endpoint apply in the order of Fail.
func (s *Server) Fail(e Endpoint, f Fault, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if times != 0 {
		s.faults = append(s.faults, &activeFault{e, f, times})
	}
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fault returns the next fault for e, or nil. The caller holds the lock.
func (s *Server) fault(e Endpoint) *Fault {
	for _, a := range s.faults {
		if a.remaining != 0 && (a.endpoint == e || a.endpoint == Any) {
			a.remaining--
			return &a.fault
		}
	}
	return nil
}

// replaceCall applies what comes before or instead of the call, and reports whether the call is still to be handled.
func (f *Fault) replaceCall(w http.ResponseWriter, r *http.Request) bool {
	if f.Met != nil {
		f.Met()
	}
	if f.Delay > 0 && !wait(r, f.Delay) {
		return false
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Drop:
		panic(http.ErrAbortHandler)
	}
	status, kind, text := f.Status, "application/json", f.Body
	switch {
	case f.RedirectTo != "":
		status = cmp.Or(status, http.StatusFound)
		w.Header().Set("Location", f.RedirectTo)
	case f.Code != "":
		b, _ := json.Marshal(problem(f.Code))
		text = string(b)
	case f.Size > 0:
		f.flood(w)
		return false
	case f.Depth > 0:
		text = `{"status":"ok","visitors":` + strings.Repeat("[", f.Depth) + strings.Repeat("]", f.Depth) + "}"
	case f.WrongTypes:
		text = `{"status":1,"usage":[],"visitors":"many","visitor":[1],"watch_url":{"a":1},"expiration":7,` +
			`"cobrowsing_sessions":{"a":1},"has_more":"yes","agent":3,"authorized":"no","token":[]}`
	case f.Duplicate:
		text = `{"status":"ok","usage":{},"usage":{},"visitors":[],"visitors":[],"visitor":{},"visitor":{},` +
			`"watch_url":"https://cobrowsingapi.com/a","watch_url":"https://cobrowsingapi.com/b","agent":{},` +
			`"agent":{},"cobrowsing_sessions":[],"cobrowsing_sessions":[],"token":"a","token":"b"}`
	case status == 0 && f.Body == "":
		return true
	}
	if strings.HasPrefix(text, "<") {
		kind = "text/html; charset=utf-8"
	}
	f.send(w, r, cmp.Or(status, http.StatusOK), kind, []byte(text))
	return false
}

func wait(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (f *Fault) flood(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(cmp.Or(f.Status, http.StatusOK))
	begin, end := `{"status":"ok","pad":"`, `"}`
	left := f.Size - int64(len(begin)+len(end))
	_, _ = w.Write([]byte(begin))
	for chunk := bytes.Repeat([]byte("x"), 64<<10); left > 0; left -= int64(len(chunk)) {
		if _, err := w.Write(chunk[:min(left, int64(len(chunk)))]); err != nil {
			return
		}
	}
	_, _ = w.Write([]byte(end))
}

// change puts WatchURL and Expiration into an answer of Watch.
func (f *Fault) change(e Endpoint, text []byte) []byte {
	if e != Watch || f.WatchURL == "" && f.Expiration == "" {
		return text
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(text, &body) != nil || body["watch_url"] == nil {
		return text
	}
	if f.WatchURL != "" {
		body["watch_url"], _ = json.Marshal(f.WatchURL)
	}
	if f.Expiration != "" {
		body["expiration"] = json.RawMessage(f.Expiration)
	}
	_, text = render(body)
	return text
}

// send writes an answer with the faults of the last group.
func (f *Fault) send(w http.ResponseWriter, r *http.Request, status int, kind string, text []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	maps.Copy(h, f.Header)
	if f.RetryAfter != "" {
		h.Set("Retry-After", f.RetryAfter)
	}
	if f.Truncate || f.Reset {
		h.Set("Content-Length", strconv.Itoa(len(text)+1000))
	}
	if f.ContentLength > 0 {
		h.Set("Content-Length", strconv.Itoa(f.ContentLength))
	}
	w.WriteHeader(status)
	switch {
	case f.Reset:
		reset(w, text[:len(text)/2])
	case f.Truncate:
		_, _ = w.Write(text[:len(text)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case f.Drip > 0:
		for i := range text {
			if _, err := w.Write(text[i : i+1]); err != nil || http.NewResponseController(w).Flush() != nil || !wait(r, f.Drip) {
				return
			}
		}
	default:
		_, _ = w.Write(text)
	}
}

// reset sends part of a body and then a TCP reset. On HTTP/2, where that is impossible, it aborts the answer.
func reset(w http.ResponseWriter, part []byte) {
	_, _ = w.Write(part)
	c := http.NewResponseController(w)
	_ = c.Flush()
	conn, _, err := c.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
}
