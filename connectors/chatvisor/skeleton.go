package chatvisor

import (
	"regexp"
	"strings"

	"github.com/tidwall/gjson"
)

const (
	maxSkeleton      = 1024 // bytes
	maxSkeletonDepth = 6
	maxSkeletonKeys  = 40 // of one object
)

// nameForm is that of a name that a programmer gave. What looks otherwise may be
// an address or an id, and is left out.
var nameForm = regexp.MustCompile(`^[A-Za-z_$][A-Za-z_$-]{0,39}[0-9]{0,2}$`)

// skeleton writes the names and types in a body, and none of its values, for an
// operator who has to find out where things are.
func skeleton(body gjson.Result) string {
	var b strings.Builder
	bones(&b, body, 0)
	if b.Len() > maxSkeleton {
		return b.String()[:maxSkeleton] + "…"
	}
	return b.String()
}

func bones(b *strings.Builder, r gjson.Result, depth int) {
	switch {
	case b.Len() > maxSkeleton || depth > maxSkeletonDepth:
		b.WriteString("...")
	case r.IsObject():
		b.WriteByte('{')
		n := 0
		r.ForEach(func(key, value gjson.Result) bool {
			if n++; n > 1 {
				b.WriteString(", ")
			}
			if n > maxSkeletonKeys {
				b.WriteString("...")
				return false
			}
			if nameForm.MatchString(key.Str) {
				b.WriteString(key.Str)
			} else {
				b.WriteByte('?')
			}
			b.WriteString(": ")
			bones(b, value, depth+1)
			return true
		})
		b.WriteByte('}')
	case r.IsArray():
		b.WriteByte('[')
		r.ForEach(func(_, value gjson.Result) bool {
			bones(b, value, depth+1)
			return false // the first tells
		})
		b.WriteByte(']')
	default:
		b.WriteString(map[gjson.Type]string{
			gjson.String: "text", gjson.Number: "number", gjson.True: "true or false", gjson.False: "true or false", gjson.Null: "null",
		}[r.Type])
	}
}
