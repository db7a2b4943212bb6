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
	// quickDeadline bounds calls about one thing; slowDeadline those that wait for every co-browsing region
	// of the account, or bring many records. The vendor publishes no figures.
	quickDeadline = 5 * time.Second
	slowDeadline  = 8 * time.Second

	// maxBody bounds an answer. The largest documented one is a list of ten visitors with fifty sessions
	// each, which with every field filled and a few lines of notes takes about two thirds of it. A list that
	// is larger still is refused whole: ask for fewer visitors.
	maxBody = 1 << 20
	// maxErrorBody is what is looked at of the body of a failure, maxDrain what is read to keep a connection.
	maxErrorBody = 4 << 10
	maxDrain     = 64 << 10

	maxDepth = 64 // nesting of an answer; documented ones stay below 10
)

// request is one call, before it has an address.
type request struct {
	op       string
	method   string
	path     []string // after the version, unescaped
	query    url.Values
	body     any // sent as JSON unless nil
	deadline time.Duration
	private  []string // ids and texts that may not turn up in an error
}

// call sends r and decodes a good answer into answer, which may be nil when its body says nothing. Every error
// is an *Error, except for a request that could not be written down.
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
			return refuse(r.op, "the request cannot be written as JSON")
		}
		content = bytes.NewReader(b)
	}
	callCtx, cancel := context.WithTimeout(ctx, r.deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(callCtx, r.method, address, content)
	if err != nil {
		return refuse(r.op, "the request has no usable address")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "cobrowse-bridge")
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	w.authorize(req.Header)

	// Not http.Client: it would follow redirects, taking the key along, and put the address into its errors.
	resp, err := w.transport.RoundTrip(req)
	if err != nil {
		return broken(r.op, 0, ctx, callCtx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return w.refused(r, resp)
	}
	if answer == nil {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
		return nil
	}
	if resp.ContentLength > maxBody {
		return tooLong(r.op, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return broken(r.op, resp.StatusCode, ctx, callCtx, err)
	}
	if len(body) > maxBody {
		return tooLong(r.op, resp.StatusCode)
	}
	if err := decode(body, answer); err != nil {
		return &Error{Op: r.op, Status: resp.StatusCode, Reason: "unreadable answer: " + err.Error(), kind: ErrUpstream}
	}
	return nil
}

// refused turns an answer that is not a success into an error, by its status.
func (w *wire) refused(r request, resp *http.Response) error {
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

// code is the vendor's own word for a failure, kept only if it is one: the answer may come from anything that
// stands before the service, and may quote what was asked.
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

// quotes reports whether s has private in it. A very short one is part of many words by chance, and has to be
// all of s.
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

// decode reads an answer: JSON, not nested beyond reason, no name twice in one object. encoding/json on its
// own would merge the two values of a repeated name into one. Its errors quote the input, so ours do not.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if _, broken := errors.AsType[*json.SyntaxError](err); broken {
		return errors.New("not JSON")
	}
	if err := sound(body); err != nil {
		return err
	}
	if err != nil {
		return errors.New("not of the documented shape")
	}
	return nil
}

// sound checks valid JSON for depth and for repeated names.
func sound(body []byte) error {
	// Every answer is checked, so what is usual, a few dozen names, is compared in
	// place; only with more is a map worth its while.
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
