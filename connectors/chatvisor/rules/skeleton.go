package rules

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

// nameForm matches a field name as programmers write it. Another name may be an address
// or an id, and is shown as "?".
var nameForm = regexp.MustCompile(`^[A-Za-z_$][A-Za-z_$-]{0,39}[0-9]{0,2}$`)

// Skeleton returns the field names and types of a body without its values. The operator
// needs them to write paths.
func Skeleton(body gjson.Result) string {
	var b strings.Builder
	writeSkeleton(&b, body, 0)
	if b.Len() > maxSkeleton {
		return b.String()[:maxSkeleton] + "…"
	}
	return b.String()
}

func writeSkeleton(b *strings.Builder, r gjson.Result, depth int) {
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
			writeSkeleton(b, value, depth+1)
			return true
		})
		b.WriteByte('}')
	case r.IsArray():
		b.WriteByte('[')
		r.ForEach(func(_, value gjson.Result) bool {
			writeSkeleton(b, value, depth+1)
			return false // the first item is enough
		})
		b.WriteByte(']')
	default:
		b.WriteString(map[gjson.Type]string{
			gjson.String: "text", gjson.Number: "number", gjson.True: "true or false", gjson.False: "true or false", gjson.Null: "null",
		}[r.Type])
	}
}
