package store

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// baseMigrations are from before the first release. All later ones only add to the tables.
var baseMigrations = []string{
	"00001_store.sql", "00002_agents.sql", "00003_sweeps.sql", "00004_chat_changes.sql", "00005_episodes.sql", "00006_failures.sql",
}

// notExpanding match statements after which a process of the version before fails or loses data.
var notExpanding = map[string]*regexp.Regexp{
	"removes what the version before uses": regexp.MustCompile(`\bDROP (TABLE|COLUMN|VIEW|TYPE|SCHEMA|FUNCTION|DEFAULT)\b|^ALTER TABLE .*\bDROP\b|^(DELETE|TRUNCATE)\b`),
	"renames what the version before uses": regexp.MustCompile(`\bRENAME\b`),
	"refuses rows of the version before":   regexp.MustCompile(`\bSET NOT NULL\b|^ALTER TABLE .*\bADD (CONSTRAINT|CHECK|UNIQUE|FOREIGN|PRIMARY)\b|^CREATE UNIQUE INDEX\b`),
	"changes the type of a column":         regexp.MustCompile(`\bALTER COLUMN \S+ (SET DATA )?TYPE\b|^ALTER TABLE \S+ ALTER \S+ (SET DATA )?TYPE\b`),
}

var (
	addColumn  = regexp.MustCompile(`^ALTER TABLE .*\bADD (COLUMN )?`)
	sqlComment = regexp.MustCompile(`(?m)--.*$|(?s)/\*.*?\*/`)
	spaces     = regexp.MustCompile(`\s+`)
)

// faultsOf returns what keeps a process of the version before from working after a migration.
func faultsOf(migration string) (faults []string) {
	for statement := range strings.SplitSeq(sqlComment.ReplaceAllString(migration, ""), ";") {
		statement = strings.ToUpper(strings.TrimSpace(spaces.ReplaceAllString(statement, " ")))
		for fault, pattern := range notExpanding {
			if pattern.MatchString(statement) {
				faults = append(faults, fault+": "+statement)
			}
		}
		if addColumn.MatchString(statement) && strings.Contains(statement, "NOT NULL") && !strings.Contains(statement, "DEFAULT") {
			faults = append(faults, "adds a column that must have a value: "+statement)
		}
	}
	return faults
}

// Replicas of two versions work on one database while they are updated one after another.
func TestMigrationsOnlyAdd(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		files, err := filepath.Glob(filepath.Join(engine, "migrations", "*.sql"))
		if err != nil || len(files) < len(baseMigrations) {
			t.Fatalf("%s has the migrations %v: %v", engine, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(baseMigrations, filepath.Base(file)) {
				continue
			}
			for _, fault := range faultsOf(string(text)) {
				t.Errorf("%s %s", file, fault)
			}
		}
	}
}

func TestTheCheckOfMigrationsFindsWhatRemoves(t *testing.T) {
	t.Parallel()
	for migration, ok := range map[string]bool{
		"CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL, n BIGINT NOT NULL); CREATE INDEX a_n ON a (n)": true,
		"ALTER TABLE cards ADD COLUMN lang TEXT":                                                      true,
		"ALTER TABLE cards ADD COLUMN lang TEXT NOT NULL DEFAULT ''":                                  true,
		"-- DROP TABLE cards;\n/* RENAME\n*/ CREATE INDEX a ON cards (lang)":                          true,
		"DROP INDEX cards_agent":                               true,
		"UPDATE cards SET lang = 'en' WHERE lang IS NULL":      true,
		"drop  table cards":                                    false,
		"ALTER TABLE cards\n DROP COLUMN lang":                 false,
		"ALTER TABLE cards DROP lang":                          false,
		"ALTER TABLE cards RENAME TO old":                      false,
		"ALTER TABLE cards RENAME COLUMN a TO b":               false,
		"ALTER TABLE cards ADD COLUMN lang TEXT NOT NULL":      false,
		"ALTER TABLE cards ADD lang TEXT NOT NULL":             false,
		"ALTER TABLE cards ALTER COLUMN lang SET NOT NULL":     false,
		"ALTER TABLE cards ALTER COLUMN lang TYPE BIGINT":      false,
		"ALTER TABLE cards ADD CONSTRAINT c CHECK (lang = '')": false,
		"CREATE UNIQUE INDEX a ON cards (lang)":                false,
		"DELETE FROM cards":                                    false,
	} {
		if faults := faultsOf(migration); (len(faults) == 0) != ok {
			t.Errorf("%s: found %q", migration, faults)
		}
	}
	// The fifth migration is from before the first release, and rebuilds a table.
	text, err := os.ReadFile("sqlite/migrations/00005_episodes.sql")
	if err != nil || len(faultsOf(string(text))) == 0 {
		t.Errorf("nothing was found in the fifth migration: %v", err)
	}
}
