package upscope

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// quickDeadline is for calls about one object. slowDeadline is for calls that wait for all regions of the
	// account, or return many records. The vendor publishes no times.
	quickDeadline = 5 * time.Second
	slowDeadline  = 8 * time.Second

	// maxBody is the limit of an answer, in bytes. The largest documented answer, ten visitors with fifty
	// sessions each, takes about two thirds of it with every field filled. A longer list is an error: ask for
	// fewer visitors.
	maxBody = 1 << 20
	// maxErrorBody is how much of a failure's body is parsed, maxDrain how much is read so that the connection
	// can be kept.
	maxErrorBody = 4 << 10
	maxDrain     = 64 << 10

	maxDepth = 64 // nesting of an answer; documented ones stay below 10
)

// request describes one call.
type request struct {
	op       string
	method   string
	path     []string // after the version, unescaped
	query    url.Values
	body     any // sent as JSON unless nil
	deadline time.Duration
	private  []string // ids and texts that an error must not contain
}

// call sends r and decodes the body of a success into answer, unless answer is nil. Every error is an *Error.
func (w *wire) call(ctx context.Context, r request, answer any) error {
	address := w.base
	for _, segment := range r.path {
		address += "/" + url.PathEscape(segment)
	}
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	var content io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return invalidRequest(r.op, "the request cannot be written as JSON")
		}
		content = bytes.NewReader(b)
	}
	callCtx, cancel := context.WithTimeout(context.WithValue(ctx, operationKey{}, r.op), r.deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(callCtx, r.method, address, content)
	if err != nil {
		return invalidRequest(r.op, "the request has no usable address")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "cobrowse-bridge")
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	w.authorize(req.Header)

	sent := time.Now()
	// http.Client is not used: it follows redirects with the key, and its errors contain the address.
	resp, err := w.transport.RoundTrip(req)
	if err != nil {
		return transportError(r.op, 0, ctx, callCtx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return w.statusError(r, resp)
	}
	w.clock.note(resp.Header, sent, time.Now())
	if answer == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
		return nil
	}
	if resp.ContentLength > maxBody {
		return tooLong(r.op, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return transportError(r.op, resp.StatusCode, ctx, callCtx, err)
	}
	if len(body) > maxBody {
		return tooLong(r.op, resp.StatusCode)
	}
	if err := decode(body, answer); err != nil {
		return &Error{Op: r.op, Status: resp.StatusCode, Reason: "unreadable answer: " + err.Error(), kind: ErrUpstream}
	}
	return nil
}

type operationKey struct{}

// Operation returns the name of the call for which a [Client] or [Eraser] sends a request, such as "search
// visitors". ctx is the context of the request. It is for transports that log or count, because addresses contain
// ids and search texts. It returns "" for the requests of other programs.
func Operation(ctx context.Context) string {
	op, _ := ctx.Value(operationKey{}).(string)
	return op
}

// statusError makes an error from an answer whose status is not 2xx.
func (w *wire) statusError(r request, resp *http.Response) error {
	e := &Error{Op: r.op, Status: resp.StatusCode}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		e.kind = ErrUnauthorized
	case http.StatusPaymentRequired:
		e.kind = ErrOverPlan
	case http.StatusNotFound:
		e.kind = ErrNotFound
	case http.StatusConflict:
		e.kind = ErrVisitorOnline
	case http.StatusTooManyRequests:
		e.kind = ErrRateLimited
	default:
		e.kind = ErrUpstream
		switch {
		case resp.StatusCode >= 500:
			e.Reason = "the service failed"
		case resp.StatusCode >= 300 && resp.StatusCode <= 399:
			e.Reason = "a redirect, which is not followed"
		default:
			e.Reason = "unexpected status"
		}
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		now, err := http.ParseTime(resp.Header.Get("Date"))
		if err != nil {
			now = time.Now()
		}
		e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), now)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
	}
	e.Code = w.code(body, r.private)
	return e
}

// code returns the vendor's word for a failure, such as invalid_api_key, or "" if the answer has none. A proxy may
// have written the answer, and it may quote the request, so other texts are not returned.
func (w *wire) code(body []byte, private []string) string {
	var answer struct{ Error string }
	if decode(body, &answer) != nil || len(answer.Error) > 40 || !plainToken(answer.Error) || w.hasKey(answer.Error) {
		return ""
	}
	if slices.ContainsFunc(private, func(p string) bool { return quotes(answer.Error, p) }) {
		return ""
	}
	return answer.Error
}

// quotes reports whether s contains private. If private has at most three bytes it must be all of s, because many
// words contain it by chance.
func quotes(s, private string) bool {
	s, private = strings.ToLower(s), strings.ToLower(private)
	return s == private || len(private) > 3 && strings.Contains(s, private)
}

// plainToken reports whether s is lower-case words joined by underscores, like invalid_api_key.
func plainToken(s string) bool {
	for word := range strings.SplitSeq(s, "_") {
		if word == "" || strings.ContainsFunc(word, func(c rune) bool { return c < 'a' || c > 'z' }) {
			return false
		}
	}
	return true
}

// decode reads an answer as JSON. It refuses deep nesting, and repeated names in one object, whose values
// encoding/json would merge. Its errors do not quote the input, as those of encoding/json do.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if _, notJSON := errors.AsType[*json.SyntaxError](err); notJSON {
		return errors.New("not JSON")
	}
	if err := checkJSON(body); err != nil {
		return err
	}
	if err != nil {
		return errors.New("not of the documented shape")
	}
	return nil
}

// checkJSON checks valid JSON for depth and for repeated names.
func checkJSON(body []byte) error {
	// An object with few names, the usual case, is searched in place. With more names a map is faster.
	type level struct {
		object bool
		first  int // of its names in names
		many   map[string]struct{}
	}
	const few = 64
	levels, names := make([]level, 0, 8), make([][]byte, 0, few)
	named := false // whether the next string is a member's name
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			if len(levels) == maxDepth {
				return errors.New("nested too deeply")
			}
			named = body[i] == '{'
			levels = append(levels, level{object: named, first: len(names)})
		case '}', ']':
			names = names[:levels[len(levels)-1].first]
			levels = levels[:len(levels)-1]
			named = false
		case ',':
			named = levels[len(levels)-1].object
		case ':':
			named = false
		case '"':
			start := i
			for i++; body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
			if !named {
				continue
			}
			name := body[start+1 : i]
			if bytes.IndexByte(name, '\\') >= 0 {
				var plain string
				if err := json.Unmarshal(body[start:i+1], &plain); err != nil {
					return errors.New("a name that cannot be read")
				}
				name = []byte(plain)
			}
			l := &levels[len(levels)-1]
			var twice bool
			if l.many == nil && len(names)-l.first < few {
				twice = slices.ContainsFunc(names[l.first:], func(n []byte) bool { return bytes.Equal(n, name) })
				names = append(names, name)
			} else {
				if l.many == nil {
					l.many = map[string]struct{}{}
					for _, n := range names[l.first:] {
						l.many[string(n)] = struct{}{}
					}
				}
				_, twice = l.many[string(name)]
				l.many[string(name)] = struct{}{}
			}
			if twice {
				return errors.New("the same name twice")
			}
		}
	}
	return nil
}
