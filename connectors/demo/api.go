package demo

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// handleAPI serves the API that the connector calls. It requires the token.
func (d *HelpDesk) handleAPI(mux *http.ServeMux) {
	for pattern, answer := range map[string]func(r *http.Request, body []byte) (status int, content any){
		"GET /api/me":                            d.apiMe,
		"GET /api/chats/{chat}":                  d.apiChat,
		"POST /api/agents/{agent}/messages":      d.apiPost,
		"POST /api/agents/{agent}/messages/{id}": d.apiPost,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			status, content := http.StatusUnauthorized, any(nil)
			if d.authorized(r.Header.Get("Authorization")) {
				body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
				if err != nil {
					return
				}
				d.mu.Lock()
				status, content = answer(r, body)
				d.mu.Unlock()
			}
			reply(w, status, content)
		})
	}
}

func (d *HelpDesk) authorized(authorization string) bool {
	return subtle.ConstantTimeCompare([]byte(authorization), []byte("Bearer "+d.token)) == 1
}

func reply(w http.ResponseWriter, status int, content any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content)
}

type object = map[string]any

func (d *HelpDesk) apiMe(*http.Request, []byte) (int, any) {
	return http.StatusOK, object{"name": "bridge"}
}

func (d *HelpDesk) apiChat(r *http.Request, _ []byte) (int, any) {
	c := d.chat(r.PathValue("chat"))
	if c == nil {
		return http.StatusNotFound, object{"error": codeNoChat}
	}
	page := d.opts.URL.JoinPath("/")
	page.RawQuery, page.Fragment = "inbox="+c.Agent.ID, c.ID
	return http.StatusOK, object{
		"open":    c.Open,
		"url":     page.String(),
		"agent":   object{"id": c.Agent.ID, "name": c.Agent.Name, "email": c.Agent.Email},
		"visitor": object{"name": c.Visitor, "upscope_key": c.key},
	}
}

func (d *HelpDesk) apiPost(r *http.Request, body []byte) (int, any) {
	to := d.agent(r.PathValue("agent"))
	if to == nil {
		return http.StatusNotFound, nil
	}
	var m message
	if json.Unmarshal(body, &m) != nil || m.Key == "" {
		return http.StatusBadRequest, nil
	}
	posted := to.post(r.PathValue("id"), m)
	if posted == nil {
		return http.StatusNotFound, nil
	}
	d.fail()
	d.touch()
	return http.StatusOK, object{"id": posted.ID}
}

// Run sends deliveries to Options.Hook, one after the other, until ctx ends. Call it once.
func (d *HelpDesk) Run(ctx context.Context) error {
	defer close(d.done)
	client := &http.Client{Timeout: deliveryTimeout}
	defer client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-d.outbox:
			d.deliver(ctx, client, e)
		}
	}
}

// deliver posts an event and retries it if the bridge does not accept it. Like other chat
// services it gives up after some attempts.
func (d *HelpDesk) deliver(ctx context.Context, client *http.Client, e event) {
	if d.opts.Hook == "" {
		return
	}
	wait := deliveryWait
	for try := 1; ; try++ {
		err := d.attempt(ctx, client, e)
		if err == nil || ctx.Err() != nil {
			return
		}
		if try == deliveryTries {
			d.opts.Log.Warn("delivery not sent", "delivery", e.ID, "err", err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			wait *= 2
		}
	}
}

func (d *HelpDesk) attempt(ctx context.Context, client *http.Client, e event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.opts.Hook, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(signatureHeader, sign([]byte(d.secret), body))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}
