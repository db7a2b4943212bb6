package deploy

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// loadCompose loads a file as `docker compose` does, in a folder with this .env. Unknown keys and
// values of a wrong type are errors.
func loadCompose(t *testing.T, name, env string) (*types.Project, error) {
	t.Helper()
	at := t.TempDir()
	write(t, filepath.Join(at, name), read(t, filepath.Join(folder, name)))
	write(t, filepath.Join(at, ".env"), env)
	options, err := cli.NewProjectOptions([]string{filepath.Join(at, name)}, cli.WithWorkingDirectory(at), cli.WithEnvFiles(), cli.WithDotEnv)
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		return nil, err
	}
	return project.WithServicesEnvironmentResolved(true)
}

func TestComposeFiles(t *testing.T) {
	for name, c := range map[string]struct {
		services []string
		bridges  []string
	}{
		"compose.yaml":          {[]string{"bridge", "caddy"}, []string{"bridge"}},
		"compose.postgres.yaml": {[]string{"bridge-1", "bridge-2", "caddy", "postgres"}, []string{"bridge-1", "bridge-2"}},
	} {
		t.Run(name, func(t *testing.T) {
			project, err := loadCompose(t, name, operatorsEnv(t, "/run/secrets"))
			if err != nil {
				t.Fatal(err)
			}
			names := project.ServiceNames()
			if slices.Sort(names); !slices.Equal(names, c.services) {
				t.Errorf("services %v, want %v", names, c.services)
			}
			for _, s := range project.Services {
				checkHardened(t, s)
			}
			subnet := project.Networks["bridge"].Ipam.Config[0].Subnet
			var upstreams []string
			for _, name := range c.bridges {
				s := project.Services[name]
				upstreams = append(upstreams, name+":8080")
				env := map[string]string{}
				for name, value := range s.Environment {
					if value != nil {
						env[name] = *value
					}
				}
				if env["BRIDGE_TRUSTED_PROXIES"] != subnet {
					t.Errorf("%s trusts %s, and Caddy is in %s", name, env["BRIDGE_TRUSTED_PROXIES"], subnet)
				}
				out := checkBridge(t, within(env, "/run/secrets", writeSecrets(t), "/data", t.TempDir()), 0, "check", "--offline")
				if !strings.Contains(out, "The settings are valid.") {
					t.Errorf("check of %s says %s", name, out)
				}
			}
			caddy := project.Services["caddy"].Environment
			if got := *caddy["UPSTREAMS"]; got != strings.Join(upstreams, " ") {
				t.Errorf("Caddy sends requests to %s, want %v", got, upstreams)
			}
			if got := *caddy["BRIDGE_ORIGIN"]; got != "https://bridge.example.com" {
				t.Errorf("Caddy's address is %s", got)
			}
		})
	}
}

func checkHardened(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	if !s.ReadOnly {
		t.Errorf("%s has a writable root", s.Name)
	}
	if !slices.Equal(s.CapDrop, []string{"ALL"}) {
		t.Errorf("%s drops the capabilities %v", s.Name, s.CapDrop)
	}
	if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("%s may gain privileges", s.Name)
	}
	if s.HealthCheck == nil || len(s.HealthCheck.Test) < 2 || s.HealthCheck.Test[0] != "CMD" {
		t.Errorf("%s has no health check in exec form", s.Name)
	}
	if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) <= 10*time.Second {
		t.Errorf("%s is killed after %v, and the bridge needs up to ten seconds", s.Name, s.StopGracePeriod)
	}
	if len(s.Ports) > 0 && s.Name != "caddy" {
		t.Errorf("%s has ports that are open to others: %v", s.Name, s.Ports)
	}
	for name, value := range s.Environment {
		for secret, content := range secrets {
			if value != nil && strings.Contains(*value, content) {
				t.Errorf("%s has %s in its environment, in %s", s.Name, secret, name)
			}
		}
	}
}

func TestComposeFilesNeedAnOrigin(t *testing.T) {
	for _, name := range []string{"compose.yaml", "compose.postgres.yaml"} {
		_, err := loadCompose(t, name, strings.Replace(operatorsEnv(t, "/run/secrets"), "\nBRIDGE_ORIGIN=", "\nORIGIN=", 1))
		if err == nil || !strings.Contains(err.Error(), "set it in the file .env") {
			t.Errorf("%s without BRIDGE_ORIGIN: %v", name, err)
		}
	}
}
