package main

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
)

// seed fills the script's database as a bridge does: with a delivery that failed (its id
// is $FAILED), one that waits ($WAITING), one that was handled ($DONE), two cards that
// could not be shown ($CARD, $LOST), a sweep that failed, and an audit log in which agents
// watched Ann twice and Carl once.
func seed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: seed")
	}
	key, err := base64.StdEncoding.DecodeString(ts.Getenv("BRIDGE_SECRET"))
	ts.Check(err)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(ts.Getenv("WORK"), "bridge.db"), store.Options{Secret: key})
	ts.Check(err)
	for _, name := range []string{"FAILED", "WAITING", "DONE"} {
		_, err := db.StoreDelivery(ctx, store.Delivery{Connector: "rocketchat", Key: "key-" + name, Body: []byte(`{"room":"room-of-` + name + `"}`)}, jobs.Job{Queue: "rocketchat", Kind: "answer"})
		ts.Check(err)
	}
	ids := map[string]string{}
	for b, err := range db.UnfinishedDeliveries(ctx) {
		ts.Check(err)
		name := strings.TrimPrefix(b.Key, "key-")
		ids[b.ID] = name
		ts.Setenv(name, b.ID)
	}
	for i, name := range []string{"CARD", "LOST"} {
		id := fmt.Sprintf("019b0000-0000-7000-8000-%012d", i)
		ids[id] = name
		ts.Setenv(name, id)
		ts.Check(db.Commit(ctx, store.Change{Jobs: []jobs.Job{{Queue: "rocketchat", Kind: "show", Subject: id}}}))
	}
	ts.Check(db.Jobs().Note(ctx, jobs.Failure{Queue: "rocketchat", Kind: "sweep", Next: time.Now().Add(time.Hour), Cause: "the workspace does not answer"}))
	handled := 0
	ts.Check(db.Work(ctx, map[string]jobs.Queue{"rocketchat": {Workers: 1}}, func(ctx context.Context, j jobs.Job) error {
		if handled++; handled == len(ids) {
			stop()
		}
		switch ids[j.Subject] {
		case "FAILED":
			return jobs.Cancel(errors.New("the workspace says\n403"))
		case "CARD", "LOST":
			return jobs.Cancel(errors.New("the channel is archived"))
		case "WAITING":
			return errors.New("the workspace does not answer")
		}
		return db.Commit(context.WithoutCancel(ctx), store.Change{Finish: j.Subject})
	}, nil))
	for i, visitor := range []string{"ANN1", "CARL1", "ANN1"} {
		e := audit.Entry{Action: "watching", Agent: fmt.Sprint("rocketchat:a", i%2), Visitor: visitor, Card: "card-" + visitor, Connector: "rocketchat", Chat: "room-" + visitor, Detail: "by short id"}
		ts.Check(db.Commit(context.Background(), store.Change{Audit: []audit.Entry{e}}))
	}
	ts.Check(db.Close())
}

// tamper runs SQL on the script's database.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	db, err := sql.Open("sqlite", filepath.Join(ts.Getenv("WORK"), "bridge.db"))
	ts.Check(err)
	_, err = db.ExecContext(context.Background(), args[0])
	ts.Check(errors.Join(err, db.Close()))
}

// capture puts the last word of the last output into a variable.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	words := strings.Fields(ts.ReadFile("stdout"))
	ts.Setenv(args[0], words[len(words)-1])
}
