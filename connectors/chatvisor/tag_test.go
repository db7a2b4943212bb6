package chatvisor

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
		o := newOffice(t, "odd")
		o.AddCustomer(chatvisortest.Customer{ID: "c-1", Labels: []string{"vip", "slow"}})
		o.wants(o.does("tag", "c-1", "--label", "cobrowse", "--label", "vip"), `"vip", "slow" and would become "vip", "slow", "cobrowse"`, "Nothing was changed")
		if len(o.changes()) != 0 {
			t.Fatal("a dry run changed something")
		}
		o.wants(o.does("tag", "c-1", "--label", "cobrowse", "--label", "a,b", "--yes"), "Done.", `old="[vip slow]"`)
		if got := o.Labels("c-1"); !slices.Equal(got, []string{"vip", "slow", "cobrowse", "a,b"}) || o.ExternalID("c-1") != "" {
			t.Errorf("labels %q, id %q", got, o.ExternalID("c-1"))
		}
		o.wants(o.does("tag", "c-1", "--label", "vip", "--yes"), "has all of that already")
		o.wants(o.does("tag", "c-1", "--external-id", "cust-77", "--yes"), "Done.")
		if o.ExternalID("c-1") != "cust-77" || len(o.Labels("c-1")) != 4 {
			t.Errorf("labels %q, id %q", o.Labels("c-1"), o.ExternalID("c-1"))
		}
		for _, c := range []struct {
			args []string
			want string
		}{
			{[]string{"c-1", "--external-id", "cust-78", "--yes"}, "another external id already"},
			{[]string{"c-1", "--yes"}, "say what to add"},
			{[]string{"../c-1", "--label", "x", "--yes"}, "no id"},
			{[]string{"c-1", "--label", "a\nb", "--yes"}, "cannot be printed"},
			{[]string{"c-9", "--label", "x", "--yes"}, "no such thing any more"},
		} {
			before := len(o.changes())
			if _, err := o.runs(append([]string{"tag"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) || len(o.changes()) != before {
				t.Errorf("%q: %v", c.args, err)
			}
		}
	})
}

// Each of these is a fault in the operator's file by which labels would be lost, or a
// customer who is known as somebody else would be joined with the person who is meant.
func TestNothingIsWrittenWhereWhatIsThereCannotBeRead(t *testing.T) {
	for _, c := range []struct{ what, old, is, want string }{
		{"labels elsewhere", "[profile.marks]", "[profile.labels]", "nothing at labels_path: either the path is wrong"},
		{"labels at null", "[profile.marks]", "[profile.nick]", "nothing at labels_path: either the path is wrong"},
		{"labels at an object", "[profile.marks]", "[profile.own]", "what is at labels_path is no list"},
		{"no path of labels", "labels_path: [profile.marks]", "", "labels_path is not set"},
		{"a number is wanted", "\nendpoints:", "\nexternal_id_type: number\nendpoints:", "says that it must be one"},
		{"an id elsewhere", "profile.own.key", "profile.own.kee", "nothing at external_id_path: either the path is wrong, and the customer may be known as somebody else"},
		{"an id below null", "profile.own.key", "profile.nick.key", "nothing at external_id_path"},
		{"an id at an object", "profile.own.key", "profile.own", "external_id_path is neither a text nor a number"},
		{"an id at a list", "profile.own.key", "profile.marks", "external_id_path is neither a text nor a number"},
		{"an id at a switch", "profile.own.key", "profile.asleep", "external_id_path is neither a text nor a number"},
		{"an id at two places, one of them wrong", "[profile.own.key]", "[profile.own.key, profile.asleep]", "neither a text nor a number"},
		{"no path of the id", "external_id_path: [profile.own.key]", "", "external_id_path is not in the file of CHATVISOR_CONFIG"},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, "odd")
			o.write("chatvisor.yaml", strings.Replace(o.Rules(), c.old, c.is, 1))
			o.AddCustomer(chatvisortest.Customer{ID: "c-1", Labels: []string{"vip"}})
			_, err := o.runs("tag", "c-1", "--label", "x", "--external-id", "cust-77", "--yes")
			if err == nil || !strings.Contains(err.Error(), c.want) || len(o.changes()) > 0 {
				t.Errorf("%s: %v after %q", c.what, err, o.changes())
			}
			if strings.Contains(c.want, "external_id_path is neither") || strings.Contains(c.want, "nothing at") {
				o.wants(err.Error(), "looks like {nr: text, profile: {")
			}
		})
	}
	o := newOffice(t, "odd")
	rules := o.Rules()[strings.Index(o.Rules(), "endpoints:"):]
	o.write("chatvisor.yaml", strings.Replace(rules, "  get_customer", "  # get_customer", 1))
	if _, err := o.runs("tag", "c-1", "--label", "x", "--yes"); err == nil || !strings.Contains(err.Error(), "endpoints.get_customer") || len(o.Requests()) > 0 {
		t.Errorf("%v", err)
	}
}

// A customer who was never tagged may have neither key in the answer. Only who has
// looked can say that this is why, and of each for itself.
func TestWhatACustomerLacksAltogetherIsForTheOperatorToSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "odd")
		o.AddCustomer(chatvisortest.Customer{ID: "c-1", Bare: true})
		tag := []string{"tag", "c-1", "--label", "vip", "--external-id", "cust-77", "--yes"}
		for said, want := range map[string]string{"": "--has-no-labels", "--has-no-labels": "--has-no-external-id", "--has-no-external-id": "--has-no-labels"} {
			_, err := o.runs(append(tag, strings.Fields(said)...)...)
			if err == nil || !strings.Contains(err.Error(), want+" says so") || len(o.changes()) > 0 {
				t.Errorf("with %q: %v after %q", said, err, o.changes())
			}
		}
		o.wants(o.does(append(tag, "--has-no-labels", "--has-no-external-id")...), "labels are none", "has no external id", "Done.")
		if o.ExternalID("c-1") != "cust-77" || !slices.Equal(o.Labels("c-1"), []string{"vip"}) {
			t.Errorf("labels %q, id %q", o.Labels("c-1"), o.ExternalID("c-1"))
		}
		// It does not overrule what can be read.
		if _, err := o.runs("tag", "c-1", "--external-id", "cust-78", "--has-no-external-id", "--yes"); err == nil || !strings.Contains(err.Error(), "another external id") {
			t.Errorf("%v", err)
		}

		// An empty text, or null, says that there is none.
		o.AddCustomer(chatvisortest.Customer{ID: "c-2"})
		o.does("tag", "c-2", "--external-id", "77", "--yes")
		o.AddCustomer(chatvisortest.Customer{ID: "c-3"})
		o.write("chatvisor.yaml", strings.Replace(o.Rules(), "profile.own.key", "profile.nick", 1))
		o.wants(o.does("tag", "c-3", "--external-id", "cust-79"), "has no external id")
	})
}

func TestACustomerIsReadAgainAfterTagging(t *testing.T) {
	for _, c := range []struct {
		what, old, is string // of the rules
		relabel       func(old, sent []string) []string
		args, want    []string // want is what the error says; none for "Done."
	}{
		{what: "labels replace", args: []string{"--label", "x"}},
		{
			what: "labels extend", args: []string{"--label", "x"},
			relabel: func(old, sent []string) []string { return append(old, sent...) },
		},
		{
			what: "only one is kept", args: []string{"--label", "x"},
			relabel: func(_, sent []string) []string { return sent[len(sent)-1:] },
			want:    []string{`at labels_path there is no "vip"`, "Chatvisor did not take it", "looks like {nr"},
		},
		{
			what: "none is taken", args: []string{"--label", "x", "--label", "y"},
			relabel: func(old, _ []string) []string { return old },
			want:    []string{`at labels_path there is no "x", "y"`},
		},
		{
			what: "the path of labels is wrong", args: []string{"--label", "x", "--has-no-labels"},
			old: "profile.marks", is: "profile.tags",
			want: []string{"nothing at labels_path", "the path is wrong"},
		},
		{
			what: "the id is sent to where nobody looks", args: []string{"--external-id", "cust-77"},
			old: "own: {key:", is: "own: {ref:",
			want: []string{"at external_id_path there is not the id that you gave", "two people be joined", "Chatvisor did not take it"},
		},
		{
			what: "the path of the id is wrong", args: []string{"--external-id", "cust-77", "--has-no-external-id"},
			old: "profile.own.key", is: "profile.own.kee",
			want: []string{"nothing at external_id_path", "may have had another id, and two people be joined"},
		},
		{
			what: "both are", args: []string{"--label", "x", "--external-id", "cust-77", "--has-no-external-id"},
			old: "profile.own.key", is: "profile.own.kee",
			relabel: func(old, _ []string) []string { return old },
			want:    []string{`there is no "x", and the customer has nothing at external_id_path`},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, "odd")
			o.Relabel = c.relabel
			if c.old != "" {
				o.write("chatvisor.yaml", strings.Replace(o.Rules(), c.old, c.is, 1))
			}
			o.AddCustomer(chatvisortest.Customer{ID: "c-1", Labels: []string{"vip"}})
			said, err := o.runs(append([]string{"tag", "c-1", "--yes"}, c.args...)...)
			o.wants(said, "changed in Chatvisor") // whatever comes of it
			switch {
			case len(c.want) == 0 && (err != nil || !strings.Contains(said, "Done.")):
				t.Errorf("%s: %q, %v", c.what, said, err)
			case len(c.want) > 0 && (err == nil || strings.Contains(said, "Done.")):
				t.Errorf("%s was taken: %q", c.what, said)
			case len(c.want) > 0:
				o.wants(err.Error(), c.want...)
				if strings.Contains(err.Error(), "cust-77") {
					t.Errorf("%s: the id is told: %v", c.what, err)
				}
			}
		})
	}
}

func TestACustomerWhoCannotBeReadAgainIsNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "odd")
		o.AddCustomer(chatvisortest.Customer{ID: "c-1"})
		o.between = func(_ *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			if len(o.changes()) > 0 {
				return nil, errors.New("the line is cut")
			}
			return serve()
		}
		said, err := o.runs("tag", "c-1", "--label", "x", "--yes")
		if err == nil || !strings.Contains(err.Error(), "could not be read again") || strings.Contains(said, "Done.") {
			t.Errorf("%q, %v", said, err)
		}
	})
}
