package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
)

// earlyFolder has databases of the first schemas. Package bridge tests the later ones.
const earlyFolder = "../../bridge/store/testdata/early"

// earlyDatabase describes a database of an early schema.
type earlyDatabase struct {
	Secret  string
	Visitor string // Ann's short id
	Rooms   []string
	// Ready and Opened are the paths of the links for the first two rooms. The third one is closed.
	// Waiting is the fourth, whose delivery was not handled.
	Ready, Opened, Waiting string
	Seq                    int64
	Hash                   string // of the last audit record, in hex
	Rows                   map[string]int
}

func gunzipFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// copyEarly copies the database in a folder, and returns its address.
func copyEarly(t *testing.T, folder, engine string) (address string, about earlyDatabase) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, engine+".json"))
	if err == nil {
		err = json.Unmarshal(text, &about)
	}
	if err != nil {
		t.Fatal(err)
	}
	address = newDatabase(t, engine)
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		if err := os.WriteFile(path, gunzipFile(t, filepath.Join(folder, "bridge.db.gz")), 0o600); err != nil {
			t.Fatal(err)
		}
		return address, about
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(t.Context(), string(gunzipFile(t, filepath.Join(folder, "bridge.sql.gz")))).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return address, about
}

func TestUpgradeOfADatabaseOfAnEarlySchema(t *testing.T) {
	t.Parallel()
	for schema := 1; schema <= 3; schema++ {
		for _, engine := range []string{"sqlite", "postgres"} {
			t.Run(fmt.Sprintf("schema%d/%s", schema, engine), func(t *testing.T) {
				t.Parallel()
				address, about := copyEarly(t, filepath.Join(earlyFolder, fmt.Sprint("schema", schema)), engine)
				db := openDatabase(t, address)
				if n := number(t, db, "SELECT max(version_id) FROM goose_db_version"); n != schema {
					t.Fatalf("the database has schema %d, want %d", n, schema)
				}
				testUpgrade(t, address, about)
				for table, was := range about.Rows {
					n := number(t, db, "SELECT count(*) FROM "+table)
					if table == "deliveries" { // of handled ones only a hash is left
						n += number(t, db, "SELECT count(*) FROM handled")
					}
					if n < was {
						t.Errorf("%s has %d rows, and had %d", table, n, was)
					}
				}
			})
		}
	}
}

func testUpgrade(t *testing.T, address string, about earlyDatabase) {
	s := newServices(t)
	var err error
	if s.bridge, err = base64.StdEncoding.DecodeString(about.Secret); err != nil {
		t.Fatal(err)
	}
	identity := "rocketchat:" + pageKey
	s.upscope.Come(upscope.Visitor{ShortID: about.Visitor, Name: "Ann Silva", UniqueID: "cust-77", Identities: []string{identity}})
	s.upscope.SetIntegrationIDs(about.Visitor, identity)
	for i, want := range about.Rooms {
		// The workspace gives the rooms the same ids again.
		room := s.chat.StartChat(rocketchattest.Visitor{ID: fmt.Sprint("guest", i), Username: "guest", Name: "Ann", Token: fmt.Sprint("token", i), Fields: pageKeyFields()})
		if room != want {
			t.Fatalf("the workspace opened %s, want %s", room, want)
		}
		s.chat.Take(room, "bob")
	}
	s.chat.CloseChat(about.Rooms[2])
	env := with(s.env(t), "BRIDGE_DATABASE="+address, "BRIDGE_KEEP_AUDIT=3650d", "BRIDGE_KEEP_CARDS=3650d")

	bridge, listens := startServe(t, env)
	bob := newBrowser(t, listens)
	bob.follow(about.Ready).want(t, http.StatusOK, "Ann Silva")
	bob.press(about.Ready, url.Values{"visitor": {about.Visitor}}).wantWatch(t)
	bob.loadPage(about.Opened).want(t, http.StatusOK, "Ann Silva")
	bob.deliverEvent(s, "LivechatSessionTaken", about.Waiting)
	eventually(t, "the fourth room has a card", maxWait, func() bool { return s.doorsByRoom("bob")[about.Waiting] != "" })
	bridge.terminate()

	head := fmt.Sprintf("%d:%s", about.Seq, about.Hash)
	if status, out, errors := runToEnd(t, env, "audit", "verify", "--head", head); status != 0 {
		t.Errorf("audit verify ended with %d: %s%s", status, out, errors)
	}
}
