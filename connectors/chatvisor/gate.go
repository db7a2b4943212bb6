package chatvisor

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A signature says how deliveries prove themselves besides their address. The
// vendor documents none; a proxy in between may add one, or the vendor one day.
type signature struct {
	header    string
	algorithm func() hash.Hash // nil compares the header with the secret itself
	encode    func([]byte) string
	prefix    string
	timestamp string // header with Unix seconds that is signed before the body; empty for none
}

type signatureDoc struct {
	Header          value[string] `yaml:"header"`
	Algorithm       value[string] `yaml:"algorithm"`
	Encoding        value[string] `yaml:"encoding"`
	Prefix          value[string] `yaml:"prefix"`
	Payload         value[string] `yaml:"payload"`
	TimestampHeader value[string] `yaml:"timestamp_header"`

	line int // of the key
}

// tolerance is how far a signed time may be from ours, either way.
const tolerance = 5 * time.Minute

const payloadTimestamp = "timestamp.body"

func (f *faults) signature(doc *signatureDoc) *signature {
	if doc == nil {
		return nil
	}
	if !doc.Header.set() {
		f.add(doc.line, "signature has no header; name the one that carries it")
	}
	s := &signature{header: f.header(doc.Header, "header"), prefix: doc.Prefix.is, timestamp: f.header(doc.TimestampHeader, "timestamp_header")}
	s.algorithm = map[string]func() hash.Hash{
		"hmac-sha256": sha256.New, "hmac-sha512": sha512.New, "hmac-sha1": sha1.New,
	}[f.oneOf(doc.Algorithm, "algorithm", "hmac-sha256", "hmac-sha512", "hmac-sha1", "plain")]
	s.encode = hex.EncodeToString
	if f.oneOf(doc.Encoding, "encoding", "hex", "base64") == "base64" {
		s.encode = base64.StdEncoding.EncodeToString
	}
	timed := f.oneOf(doc.Payload, "payload", "body", payloadTimestamp) == payloadTimestamp
	switch {
	case timed != doc.TimestampHeader.set():
		f.add(max(doc.Payload.line, doc.TimestampHeader.line), "payload %s and timestamp_header go together; set both or neither", payloadTimestamp)
	case s.algorithm == nil && (timed || doc.Encoding.set()):
		f.add(doc.Algorithm.line, "plain signs nothing, so there is neither payload nor encoding; remove them")
	}
	return s
}

// proves reports whether exactly one header carries what only somebody with the
// secret can know of this body.
func (s *signature) proves(secret []byte, h http.Header, body []byte, now time.Time) bool {
	got := h.Values(s.header)
	if len(got) != 1 {
		return false
	}
	if s.algorithm == nil {
		return same(got[0], s.prefix+string(secret))
	}
	mac := hmac.New(s.algorithm, secret)
	if s.timestamp != "" {
		stamps := h.Values(s.timestamp)
		if len(stamps) != 1 {
			return false
		}
		seconds, err := strconv.ParseInt(stamps[0], 10, 64)
		// Compared in seconds, where no stamp overflows.
		if err != nil || seconds < now.Add(-tolerance).Unix() || seconds > now.Add(tolerance).Unix() {
			return false
		}
		mac.Write([]byte(stamps[0] + "."))
	}
	mac.Write(body)
	return same(got[0], s.prefix+s.encode(mac.Sum(nil)))
}

// same compares in a time that does not depend on where two texts differ.
func same(a, b string) bool {
	x, y := digest(a), digest(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func digest(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// knows reports whether a path has one of our secrets, in a time that depends
// neither on them nor on which it is.
func (c *connector) knows(secret string) bool {
	got, ok := digest(secret), 0
	for i := range c.secrets {
		ok |= subtle.ConstantTimeCompare(got[:], c.secrets[i][:])
	}
	return ok == 1
}

// admits reports whether a delivery comes from where deliveries may come from.
func (r *Rules) admits(req *http.Request) bool {
	if len(r.allow) == 0 {
		return true
	}
	from := r.origin(req)
	return from.IsValid() && within(r.allow, from)
}

// origin is the address of who sent a request: the last that is no trusted proxy.
// What strangers write into X-Forwarded-For lies behind that and is not looked at.
func (r *Rules) origin(req *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		host = req.RemoteAddr
	}
	from, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	hops := strings.Split(strings.Join(req.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !within(r.proxies, from) {
			break
		}
		if from, err = netip.ParseAddr(strings.TrimSpace(hop)); err != nil {
			return netip.Addr{}
		}
	}
	return from
}

func within(all []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(addr.Unmap().WithZone("")) })
}
