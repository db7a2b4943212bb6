package check

import (
	"fmt"
	"strings"

	"cobrowse-bridge/bridge/settings"
)

// Faults returns the faults of the settings as findings.
func Faults(faults []settings.Fault) []Finding {
	var all []Finding
	for _, f := range faults {
		all = append(all, problem("settings.invalid", f.Variable, "", "%s %s.", f.Variable, f.Problem))
	}
	return all
}

// Settings says what the settings mean: who can sign in, whether a policy says what they may do, and
// what else they decide. It makes no request and reads no file.
func Settings(c Config) []Finding {
	all := []Finding{ok("settings.valid", "settings", "The settings are valid.")}
	all = append(all, access(c)...)
	all = append(all, watchHosts(c))
	return append(all, stopTime(c)...)
}

// watchHosts names the hosts of watch links. The bridge cannot know to which hosts the watch
// page redirects, so the text says what happens if one is missing. Browsers check each redirect
// after a form against the form-action of the form's page: w3.org/TR/CSP3/#directive-form-action
func watchHosts(c Config) Finding {
	hosts := c.WatchHosts.String()
	return ok("upscope.watch-hosts", "UPSCOPE_WATCH_HOSTS", "Watch links may lead to %s. If the watch page redirects to another host, such as "+
		"watch.example.org, set UPSCOPE_WATCH_HOSTS to all of them, since a value replaces the list: %s,watch.example.org. "+
		"Otherwise browsers stay on the co-browse page and show no message.", strings.ReplaceAll(hosts, ",", ", "), hosts)
}

// stopTime compares how long a stop takes with how long the supervisor waits.
func stopTime(c Config) []Finding {
	stop := c.StopDelay + c.StopTimeout
	if stop < c.KillAfter {
		return nil
	}
	return []Finding{warning("stop.killed", "BRIDGE_STOP_TIMEOUT",
		fmt.Sprintf("Make your supervisor wait longer (terminationGracePeriodSeconds of Kubernetes, stop_grace_period of Compose, TimeoutStopSec= of systemd) "+
			"and set BRIDGE_KILL_AFTER to that time, or make BRIDGE_STOP_DELAY and BRIDGE_STOP_TIMEOUT shorter than %s together.", c.KillAfter),
		"A stop may take %s (BRIDGE_STOP_DELAY and BRIDGE_STOP_TIMEOUT), and the supervisor kills the bridge after %s (BRIDGE_KILL_AFTER): requests that are still running are cut off.",
		stop, c.KillAfter)}
}
