package chatvisor

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
)

func TestCheckMakesTheDocumentedCallAndListsEveryStep(t *testing.T) {
	t.Parallel()
	for file, steps := range map[string][]string{
		"":            {"list_customers: works without configuration.", "calls that are not configured: get_customer, list_conversations, tag_customer"},
		"all-steps\n": {"get_customer: configured, GET /", "tag_customer: configured, PUT /", "mint_token: configured"},
		withEndpoint("tag_customer", `{method: POST, path: "/x/{customerId}"}`): {"tag_customer: configured but not enabled; the bridge does not label a customer."},
	} {
		d := newTenant(t, file)
		d.AddCustomer(chatvisortest.Customer{ID: "c-secret"})
		var all []string
		for _, f := range d.Check(t.Context()) {
			if f.Problem != "" || f.Remedy != "" {
				t.Errorf("%q: %+v", file, f)
			}
			all = append(all, f.OK)
		}
		said := strings.Join(all, "\n")
		for _, want := range append(steps, "Fields of the list of customers: {page: number, results: [{customerId: text, status: text}]}") {
			if !strings.Contains(said, want) {
				t.Errorf("%q: the findings are %q, want %q", file, said, want)
			}
		}
		if paths := d.paths(); len(paths) != 1 || paths[0] != "GET /customer" || strings.Contains(said, "c-secret") {
			t.Errorf("requests %q, findings %q", paths, said)
		}
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status       int
		body         string
		problem, fix string
	}{
		{401, "", "does not accept the token", "CHATVISOR_TOKEN"},
		{403, "", "does not accept the token", "Developer tools"},
		{404, "", "request to Chatvisor failed", "CHATVISOR_URL"},
		{302, "", "request to Chatvisor failed", "CHATVISOR_URL"},
		{200, "<html>", "request to Chatvisor failed", "CHATVISOR_URL"},
		{200, `{"page":0}`, "is not Chatvisor", "/rest/v1"},
	} {
		d := newTenant(t, "", func(k *Config) {
			k.Transport = roundTripper(func(r *http.Request) (*http.Response, error) { return jsonAnswer(r, c.status, c.body), nil })
		})
		f := d.Check(t.Context())[0]
		if !strings.Contains(f.Problem, c.problem) || !strings.Contains(f.Remedy, c.fix) {
			t.Errorf("%d %s: %+v", c.status, c.body, f)
		}
	}
}

// openWith sets variables of a tenant and opens its connector.
func openWith(t *testing.T, variables map[string]string) (faults []string, secrets []string) {
	t.Helper()
	for name, value := range variables {
		t.Setenv("CHATVISOR_"+name, value)
	}
	var r settings.Reader
	k := Open(&r, "chatvisor", "CHATVISOR", nil, network.Route{}, slog.New(slog.DiscardHandler))
	if (k.Accept == nil) != (len(r.Faults()) > 0) {
		t.Errorf("a connector with faults, or none without faults: %v", r.Faults())
	}
	for _, f := range r.Faults() {
		faults = append(faults, f.Error())
	}
	return faults, r.Secrets()
}

func TestSettingsAreReadAndAllFaultsReported(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tenant.yaml")
	write := func(text string) string {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	sound := map[string]string{"TOKEN": apiToken, "HOOK_SECRET": hookSecret}
	with := func(more map[string]string) map[string]string {
		all := map[string]string{"URL": "", "HOOK_SECRET_OLD": "", "CONFIG": ""}
		for _, m := range []map[string]string{sound, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	for name, c := range map[string]struct {
		variables map[string]string
		file      string
		want      []string
	}{
		"only required":          {nil, "", nil},
		"two secrets and a file": {map[string]string{"HOOK_SECRET_OLD": oldSecret, "CONFIG": file}, "team: Sales", nil},
		"nothing":                {map[string]string{"TOKEN": "", "HOOK_SECRET": ""}, "", []string{"CHATVISOR_TOKEN is not set", "CHATVISOR_HOOK_SECRET is not set"}},
		"all wrong": {map[string]string{"URL": "http://chat.example.org", "TOKEN": "short", "HOOK_SECRET": "with/slashes-and-long-enough", "HOOK_SECRET_OLD": "seventeen-letters", "CONFIG": file},
			"team: ''\njoin: [phone]", []string{"CHATVISOR_URL must begin with https://", "CHATVISOR_TOKEN is too short",
				"CHATVISOR_CONFIG has a fault: tenant.yaml:1: team", "CHATVISOR_CONFIG has a fault: tenant.yaml:2: join",
				"CHATVISOR_HOOK_SECRET must be 22 to 128", "CHATVISOR_HOOK_SECRET_OLD must be 22 to 128"}},
		"the same secret twice":         {map[string]string{"HOOK_SECRET_OLD": hookSecret}, "", []string{"CHATVISOR_HOOK_SECRET_OLD has the same value"}},
		"a file that is not there":      {map[string]string{"CONFIG": file + "x"}, "", []string{"CHATVISOR_CONFIG names a file that cannot be read"}},
		"a signature":                   {map[string]string{"CONFIG": file}, "webhook: {signature: {header: X-Sig}}", []string{"CHATVISOR_CONFIG has a fault: tenant.yaml:1: signature is no longer supported"}},
		"a token that contains a space": {map[string]string{"TOKEN": "with a space in the middle"}, "", []string{"CHATVISOR_TOKEN contains a space"}},
	} {
		t.Run(name, func(t *testing.T) {
			write(c.file)
			faults, secrets := openWith(t, with(c.variables))
			if len(faults) != len(c.want) {
				t.Fatalf("faults %q, want %q", faults, c.want)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(faults[i], want) {
					t.Errorf("fault %q, want %q", faults[i], want)
				}
				wantNoSecret(t, "a fault", faults[i])
			}
			if c.want == nil && len(secrets) < 2 {
				t.Errorf("%d secrets are removed from the log", len(secrets))
			}
		})
	}
}
