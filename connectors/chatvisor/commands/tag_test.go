package commands

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
)

func TestLabelsAreAddedAndNeverLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, "all-steps")
		o.AddCustomer(chatvisortest.Customer{ID: "c-1", Labels: []string{"vip", "slow"}})
		o.wantText(o.mustRun("tag", "c-1", "--label", "cobrowse", "--label", "vip"), `Labels now: "vip", "slow". New labels: "vip", "slow", "cobrowse".`, "Nothing was changed")
		if len(o.changeRequests()) != 0 {
			t.Fatal("a run without --yes changed the labels")
		}
		o.wantText(o.mustRun("tag", "c-1", "--label", "cobrowse", "--label", "a,b", "--yes"), "Done.", `old="[vip slow]"`)
		if got := o.Labels("c-1"); !slices.Equal(got, []string{"vip", "slow", "cobrowse", "a,b"}) || o.ExternalID("c-1") != "" {
			t.Errorf("labels %q, id %q", got, o.ExternalID("c-1"))
		}
		o.wantText(o.mustRun("tag", "c-1", "--label", "vip", "--yes"), "has these labels already")
		o.wantText(o.mustRun("tag", "c-1", "--external-id", "cust-77", "--yes"), "Done.")
		if o.ExternalID("c-1") != "cust-77" || len(o.Labels("c-1")) != 4 {
			t.Errorf("labels %q, id %q", o.Labels("c-1"), o.ExternalID("c-1"))
		}
		for _, c := range []struct {
			args []string
			want string
		}{
			{[]string{"c-1", "--external-id", "cust-78", "--yes"}, "another external id already"},
			{[]string{"c-1", "--yes"}, "nothing to add"},
			{[]string{"../c-1", "--label", "x", "--yes"}, "customer id must be"},
			{[]string{"c-1", "--label", "a\nb", "--yes"}, "cannot be printed"},
			{[]string{"c-9", "--label", "x", "--yes"}, "it was deleted in Chatvisor"},
		} {
			before := len(o.changeRequests())
			if _, err := o.run(append([]string{"tag"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) || len(o.changeRequests()) != before {
				t.Errorf("%q: %v", c.args, err)
			}
		}
	})
}

// Each case is a fault in the operator's file. Without the check, tagging would delete
// labels or join two people.
func TestTagWritesNothingIfTheCurrentValueCannotBeRead(t *testing.T) {
	for _, c := range []struct{ what, old, is, want string }{
		{"labels elsewhere", "[profile.marks]", "[profile.labels]", "nothing at labels_path: if the path is wrong, labels would be lost"},
		{"labels at null", "[profile.marks]", "[profile.nick]", "nothing at labels_path: if the path is wrong, labels would be lost"},
		{"labels at an object", "[profile.marks]", "[profile.own]", "the value at labels_path is not a list"},
		{"no path of labels", "labels_path: [profile.marks]", "", "labels_path is not set"},
		{"a number is wanted", "\nendpoints:", "\nexternal_id_type: number\nendpoints:", "external_id_type is number"},
		{"an id elsewhere", "profile.own.key", "profile.own.kee", "nothing at external_id_path: if the path is wrong, the customer may have another id"},
		{"an id below null", "profile.own.key", "profile.nick.key", "nothing at external_id_path"},
		{"an id at an object", "profile.own.key", "profile.own", "external_id_path is neither a text nor a number"},
		{"an id at a list", "profile.own.key", "profile.marks", "external_id_path is neither a text nor a number"},
		{"an id at true or false", "profile.own.key", "profile.asleep", "external_id_path is neither a text nor a number"},
		{"an id at two places, one of them wrong", "[profile.own.key]", "[profile.own.key, profile.asleep]", "neither a text nor a number"},
		{"no path of the id", "external_id_path: [profile.own.key]", "", "external_id_path is not in the file of CHATVISOR_CONFIG"},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, "all-steps")
			o.write("chatvisor.yaml", strings.Replace(o.Rules(), c.old, c.is, 1))
			o.AddCustomer(chatvisortest.Customer{ID: "c-1", Labels: []string{"vip"}})
			_, err := o.run("tag", "c-1", "--label", "x", "--external-id", "cust-77", "--yes")
			if err == nil || !strings.Contains(err.Error(), c.want) || len(o.changeRequests()) > 0 {
				t.Errorf("%s: %v after %q", c.what, err, o.changeRequests())
			}
			if strings.Contains(c.want, "external_id_path is neither") || strings.Contains(c.want, "nothing at") {
				o.wantText(err.Error(), " of the customer: {nr: text, profile: {")
			}
		})
	}
	o := newOperator(t, "all-steps")
	rules := o.Rules()[strings.Index(o.Rules(), "endpoints:"):]
	o.write("chatvisor.yaml", strings.Replace(rules, "  get_customer", "  # get_customer", 1))
	if _, err := o.run("tag", "c-1", "--label", "x", "--yes"); err == nil || !strings.Contains(err.Error(), "endpoints.get_customer") || len(o.Requests()) > 0 {
		t.Errorf("%v", err)
	}
}

// The answer for a customer who was never tagged may have neither key. The operator must
// confirm this for each of them.
func TestAMissingValueMustBeConfirmedByTheOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, "all-steps")
		o.AddCustomer(chatvisortest.Customer{ID: "c-1", OmitEmpty: true})
		tag := []string{"tag", "c-1", "--label", "vip", "--external-id", "cust-77", "--yes"}
		for flags, want := range map[string]string{"": "--has-no-labels", "--has-no-labels": "--has-no-external-id", "--has-no-external-id": "--has-no-labels"} {
			_, err := o.run(append(tag, strings.Fields(flags)...)...)
			if err == nil || !strings.Contains(err.Error(), "add "+want+".") || len(o.changeRequests()) > 0 {
				t.Errorf("with %q: %v after %q", flags, err, o.changeRequests())
			}
		}
		o.wantText(o.mustRun(append(tag, "--has-no-labels", "--has-no-external-id")...), "Labels now: none", "has no external id", "Done.")
		if o.ExternalID("c-1") != "cust-77" || !slices.Equal(o.Labels("c-1"), []string{"vip"}) {
			t.Errorf("labels %q, id %q", o.Labels("c-1"), o.ExternalID("c-1"))
		}
		// The flag does not override an id that can be read.
		if _, err := o.run("tag", "c-1", "--external-id", "cust-78", "--has-no-external-id", "--yes"); err == nil || !strings.Contains(err.Error(), "another external id") {
			t.Errorf("%v", err)
		}

		// An empty text or null means that there is no id.
		o.AddCustomer(chatvisortest.Customer{ID: "c-2"})
		o.mustRun("tag", "c-2", "--external-id", "77", "--yes")
		o.AddCustomer(chatvisortest.Customer{ID: "c-3"})
		o.write("chatvisor.yaml", strings.Replace(o.Rules(), "profile.own.key", "profile.nick", 1))
		o.wantText(o.mustRun("tag", "c-3", "--external-id", "cust-79"), "has no external id")
	})
}

func TestACustomerIsReadAgainAfterTagging(t *testing.T) {
	for _, c := range []struct {
		what, old, is string // replaced in the rules
		relabel       func(old, sent []string) []string
		args, want    []string // want is in the error; empty if the command prints "Done."
	}{
		{what: "labels replace", args: []string{"--label", "x"}},
		{
			what: "labels extend", args: []string{"--label", "x"},
			relabel: func(old, sent []string) []string { return append(old, sent...) },
		},
		{
			what: "only one is kept", args: []string{"--label", "x"},
			relabel: func(_, sent []string) []string { return sent[len(sent)-1:] },
			want:    []string{`labels missing at labels_path: "vip"`, "Chatvisor ignored the change", "Fields of the customer: {nr"},
		},
		{
			what: "none is taken", args: []string{"--label", "x", "--label", "y"},
			relabel: func(old, _ []string) []string { return old },
			want:    []string{`labels missing at labels_path: "x", "y"`},
		},
		{
			what: "the path of labels is wrong", args: []string{"--label", "x", "--has-no-labels"},
			old: "profile.marks", is: "profile.tags",
			want: []string{"nothing at labels_path", "The path is wrong"},
		},
		{
			what: "the id is sent to another field", args: []string{"--external-id", "cust-77"},
			old: "own: {key:", is: "own: {ref:",
			want: []string{"the value at external_id_path is not the given id", "two people may be joined", "Chatvisor ignored the change"},
		},
		{
			what: "the path of the id is wrong", args: []string{"--external-id", "cust-77", "--has-no-external-id"},
			old: "profile.own.key", is: "profile.own.kee",
			want: []string{"nothing at external_id_path", "may have had another id, and two people may be joined"},
		},
		{
			what: "labels are ignored and the path of the id is wrong", args: []string{"--label", "x", "--external-id", "cust-77", "--has-no-external-id"},
			old: "profile.own.key", is: "profile.own.kee",
			relabel: func(old, _ []string) []string { return old },
			want:    []string{`at labels_path: "x"; the customer has nothing at external_id_path`},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, "all-steps")
			o.Relabel = c.relabel
			if c.old != "" {
				o.write("chatvisor.yaml", strings.Replace(o.Rules(), c.old, c.is, 1))
			}
			o.AddCustomer(chatvisortest.Customer{ID: "c-1", Labels: []string{"vip"}})
			said, err := o.run(append([]string{"tag", "c-1", "--yes"}, c.args...)...)
			o.wantText(said, "changed in Chatvisor") // in any case
			switch {
			case len(c.want) == 0 && (err != nil || !strings.Contains(said, "Done.")):
				t.Errorf("%s: %q, %v", c.what, said, err)
			case len(c.want) > 0 && (err == nil || strings.Contains(said, "Done.")):
				t.Errorf("%s: no error after %q", c.what, said)
			case len(c.want) > 0:
				o.wantText(err.Error(), c.want...)
				if strings.Contains(err.Error(), "cust-77") {
					t.Errorf("%s: the id is in the error: %v", c.what, err)
				}
			}
		})
	}
}

func TestTagFailsIfTheCustomerCannotBeReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, "all-steps")
		o.AddCustomer(chatvisortest.Customer{ID: "c-1"})
		o.between = func(_ *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			if len(o.changeRequests()) > 0 {
				return nil, errors.New("connection reset")
			}
			return serve()
		}
		said, err := o.run("tag", "c-1", "--label", "x", "--yes")
		if err == nil || !strings.Contains(err.Error(), "could not be read again") || strings.Contains(said, "Done.") {
			t.Errorf("%q, %v", said, err)
		}
	})
}
