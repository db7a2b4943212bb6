package engine

import (
	"iter"
	"strconv"
	"time"
)

// Micros returns t as it is stored, in microseconds since 1970. The zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// FromMicros is the opposite of Micros.
func FromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

const maxPortion = 32

// Portions splits rows into parts that are inserted together. The length of each part is a
// power of two, at most 32. So there are few different queries, and none has more arguments
// than the databases allow.
func Portions[T any](rows []T) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for size := maxPortion; len(rows) > 0; {
			if size > len(rows) {
				size /= 2
				continue
			}
			if !yield(rows[:size]) {
				return
			}
			rows = rows[size:]
		}
	}
}

// Tuples returns n groups of placeholders, one for each column: ($1,$2),($3,$4).
func Tuples(n, columns int) string {
	b := make([]byte, 0, n*columns*5)
	for i := range n * columns {
		if i%columns == 0 {
			if i > 0 {
				b = append(b, ')', ',')
			}
			b = append(b, '(')
		} else {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, '$'), int64(i+1), 10)
	}
	return string(append(b, ')'))
}

// Column reads all rows of a query with one column.
func Column[T any](rows Rows, err error) (all []T, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
