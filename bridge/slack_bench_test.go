package bridge_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/benchtest"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/slack"
	"cobrowse-bridge/connectors/slack/slacktest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// BenchmarkSlackAcknowledgement sends 200 commands at once. After three seconds without an
// answer Slack shows an error (docs.slack.dev/interactivity/implementing-slash-commands).
func BenchmarkSlackAcknowledgement(b *testing.B) {
	const burst, deadline = 200, 3 * time.Second
	fake := slacktest.New(b.Errorf)
	fake.Secret, fake.BotToken = signingSecret, "xoxb-canary-bot-token"
	fake.AddUser(slacktest.User{ID: "U1", Name: "bob"})
	connector, err := slack.New(slack.Config{
		Name: "slack", Secrets: secret.All(signingSecret), BotToken: secret.New(fake.BotToken), Transport: bridge.InProcess(fake),
	})
	if err != nil {
		b.Fatal(err)
	}
	db, err := store.Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "bridge.db"), store.Options{Secret: []byte(bridgeSecret)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	up := upscopetest.New(upscopetest.Options{Key: upscopeKey})
	client, err := upscope.New(upscope.Config{URL: "https://api.upscope.io", Key: upscopeKey, Transport: bridge.InProcess(up)})
	if err != nil {
		b.Fatal(err)
	}
	public, _ := url.Parse(origin)
	br, err := bridge.New(bridge.Config{
		Origin: public, Secret: []byte(bridgeSecret), Store: db, Upscope: client,
		Connectors: []chat.Connector{connector}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(br)
	b.Cleanup(server.Close)
	clients := &http.Transport{MaxIdleConnsPerHost: burst, MaxConnsPerHost: burst}
	b.Cleanup(clients.CloseIdleConnections)
	var worst []float64
	for b.Loop() {
		bodies := make([][]byte, burst)
		for i := range bodies {
			bodies[i] = fake.Command("U1", "C1", fmt.Sprintf("%04d", i))
		}
		each, _ := benchtest.Parallel(b, burst, burst, func(i int) error {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL+"/hooks/slack", strings.NewReader(string(bodies[i])))
			if err != nil {
				return err
			}
			r.Header = fake.Sign(bodies[i])
			answer, err := clients.RoundTrip(r)
			if err != nil {
				return err
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
				return fmt.Errorf("answered %d, %w", answer.StatusCode, err)
			}
			return nil
		})
		worst = append(worst, slices.Max(each).Seconds()/deadline.Seconds())
	}
	b.ReportMetric(benchtest.Percentile(worst, 50), "S1")
	b.ReportMetric(0, "ns/op")
}
