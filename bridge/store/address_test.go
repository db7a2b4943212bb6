package store

import (
	"bytes"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAddressesOfDatabases(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(folder)
	t.Setenv("PGHOST", "")
	for address, fault := range map[string]string{
		"sqlite:bridge.db":                   "",
		"sqlite://bridge.db":                 "",
		"sqlite://" + folder + "/bridge.db":  "",
		"sqlite:file":                        "",
		"sqlite:":                            "has no file",
		"sqlite://":                          "has no file",
		"sqlite::memory:":                    "must be sqlite: and the path of a file",
		"sqlite:bridge.db?mode=ro":           "must be sqlite: and the path of a file",
		"sqlite:file:bridge.db":              "must be sqlite: and the path of a file",
		"sqlite:" + folder:                   "names a folder",
		"sqlite:new/":                        "names a folder",
		"sqlite:no/such/bridge.db":           "names a file in a folder that does not exist",
		"sqlite:~/bridge.db":                 "names a file in a folder that does not exist",
		"sqlite:file/bridge.db":              "names a file in a folder that is a file",
		"sqlite:file/no/bridge.db":           "names a file in a folder that is a file",
		"SQLITE:bridge.db":                   "must be sqlite:FILE or postgres://",
		"bridge.db":                          "must be sqlite:FILE or postgres://",
		"":                                   "must be sqlite:FILE or postgres://",
		"mysql://db/bridge":                  "must be sqlite:FILE or postgres://",
		"host=db dbname=bridge":              "must be sqlite:FILE or postgres://",
		"postgres:host=db dbname=bridge":     "must be postgres://",
		"postgres:":                          "must be postgres://",
		"postgres://":                        "must be postgres://",
		"postgres://bridge@db/bridge":        "",
		"postgresql://bridge:word@db/bridge": "",
		"postgres:///bridge":                 "", // the socket, or PGHOST
		"postgres:///bridge?host=/var/run/postgresql":                      "",
		"postgres:///bridge?host=/var/run/postgresql&port=5433":            "",
		"postgres://%2Fvar%2Frun%2Fpostgresql/bridge":                      "",
		"postgres://u:word@h1,h2/bridge?target_session_attrs=read-write":   "",
		"postgres://u:word@h1:5432,h2:5433/bridge?pool_max_conns=20":       "",
		"postgres://db:port/bridge":                                        "is malformed",
		"postgres://db/bridge?sslmode=sometimes":                           "is malformed",
		"postgres://db/bridge?sslmode=verify-full&sslrootcert=no/such.pem": "names a file, such as a certificate, that cannot be read: no such file or directory",
	} {
		_, err := CheckAddress(address)
		if (err == nil) != (fault == "") || err != nil && !strings.HasPrefix(err.Error(), fault) {
			t.Errorf("%q: %v, want %q", address, err, fault)
		}
	}
}

func TestThePasswordsOfAnAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][]string{
		"sqlite:bridge.db":                                                   nil,
		"postgres://bridge:first%20word@db/bridge":                           {"first word"},
		"postgres://bridge:first-word@h1:1,h2:2/bridge":                      {"first-word"},
		"postgres://db/bridge?password=first-word&sslpassword=second%3Fword": {"first-word", "second?word"},
		"postgres://u:what?word@db/bridge?sslpassword=second-word":           {"second-word", "what?word"},
	} {
		secrets, err := CheckAddress(address)
		secrets = slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
		slices.Sort(secrets)
		if secrets = slices.Compact(secrets); err != nil || !slices.Equal(secrets, want) {
			t.Errorf("%q: %q, %v; want %q", address, secrets, err, want)
		}
	}
}

func TestAMissingFolderIsRefusedAndNotMade(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "misspelt")
	for _, o := range []Options{{Secret: secretA}, {Secret: secretA, Beside: true}, {Secret: secretA, Look: true}} {
		s, err := Open(t.Context(), "sqlite:"+folder+"/bridge.db", o)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "BRIDGE_DATABASE names a file in a folder that does not exist") {
			t.Errorf("Open = %v", err)
		}
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("the folder was made: %v", err)
	}
}

func TestANewDatabaseIsAnnouncedOnce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := newDatabase(t, name)
			var log bytes.Buffer
			for range 2 {
				openAt(t, address, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}).Close()
			}
			where := strings.TrimPrefix(address, "sqlite:") // absolute
			if u, err := url.Parse(address); err == nil && name == "postgres" {
				where = u.Path[1:]
			}
			want := `level=WARN msg="` + NewDatabase + `" database=` + where
			if got := strings.TrimSpace(log.String()); !strings.HasSuffix(got, want) || strings.Contains(got, "\n") {
				t.Errorf("the log is %q, want %q once", got, want)
			}
		})
	}
}

// An operator may have made the server's socket the only way in.
func TestPostgreSQLByItsSocket(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(newDatabase(t, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	const folder = "/var/run/postgresql"
	if _, err := os.Stat(folder + "/.s.PGSQL." + u.Port()); err != nil {
		t.Skip("the server has no socket in ", folder)
	}
	u.RawQuery = url.Values{"host": {folder}, "port": {u.Port()}}.Encode()
	u.Host = ""
	if err := openAt(t, u.String(), Options{}).Ready(t.Context()); err != nil {
		t.Error(err)
	}
}
