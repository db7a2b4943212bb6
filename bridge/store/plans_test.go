package store

import (
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"regexp"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/sqlite"
)

func TestEveryQueryFindsItsRowsThroughAnIndex(t *testing.T) {
	t.Parallel()
	s := openAt(t, newDatabase(t, "sqlite"), Options{})
	queries := queryConstants(t, "queries.go", "audit/queries.go", "erasing/queries.go", "figures/queries.go", "jobs/queries.go", "limit/queries.go", "refreshes/queries.go", "session/queries.go", "sweeps/queries.go")
	if len(queries) < 25 {
		t.Fatalf("only %d queries found", len(queries))
	}
	queries["QueryRecoverJobs"] = sqlite.QueryRecoverJobs
	queries["QueryRecoverPosts"] = sqlite.QueryRecoverPosts
	queries["QueryRecoverLeader"] = sqlite.QueryRecoverLeader
	scan := regexp.MustCompile(`SCAN (deliveries|cards|posts|browsers|audit|audit_head|chat_changes|waits|refreshes|erasures|probe|sessions|accounts|limits|sweeps|found|failures|desk_changes|erasure_index|erasure_index_state|handled|river_\w+)`)
	for name, query := range queries {
		for _, step := range plan(t, s, query) {
			if scan.MatchString(step) {
				t.Errorf("%s: %s", name, step)
			}
		}
	}
	if steps := plan(t, s, `SELECT count(*) FROM deliveries`); !scan.MatchString(strings.Join(steps, "\n")) {
		t.Errorf("the test does not recognise a scan: %q", steps)
	}
}

func plan(t *testing.T, s *Store, query string) (steps []string) {
	t.Helper()
	args := make([]any, strings.Count(query, "$"))
	rows, err := s.engine.Query(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return steps
}

// queryConstants returns all queries in the source of these files, so that none is left out.
func queryConstants(t *testing.T, names ...string) map[string]string {
	t.Helper()
	files := token.NewFileSet()
	var sources []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		file.Name.Name = "queries" // so that they may be checked together
		sources = append(sources, file)
	}
	c := types.Config{Importer: importer.Default(), Error: func(error) {}}
	pkg, _ := c.Check("queries", files, sources, nil)
	queries := make(map[string]string)
	for _, name := range pkg.Scope().Names() {
		object, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok || !strings.HasPrefix(strings.ToLower(name), "query") {
			continue
		}
		query := constant.StringVal(object.Val())
		switch name {
		case "queryInsertDeliveries":
			query += engine.Tuples(2, deliveryColumnNum) + queryInsertedOnce
		case "queryInsertChanges":
			query += engine.Tuples(2, changeColumnNum)
		case "queryInsertAudit":
			query += engine.Tuples(2, 13)
		case "queryInsertDeskChanges":
			query += engine.Tuples(2, deskChangeColumnNum)
		case "queryFree":
			query += engine.Tuples(1, 2)
		case "querySpend":
			query += engine.Tuples(2, 2) + constant.StringVal(pkg.Scope().Lookup("querySpent").(*types.Const).Val())
		case "queryInsertedOnce", "querySpent":
			continue
		}
		queries[name] = query
	}
	return queries
}
