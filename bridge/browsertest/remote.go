package browsertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

type object = map[string]any

// A remote sends WebDriver commands to a browser, by their names in Marionette, Firefox's remote protocol.
type remote interface {
	// call runs a command and decodes its value into result, if that is not nil.
	// params["element"] is the id of the element on which the command acts.
	call(ctx context.Context, command string, params object, result any) error
}

// A remoteError is the browser's answer to a failed command.
type remoteError struct {
	Code    string `json:"error"`   // WebDriver's error code, such as "no such element"
	Message string `json:"message"` // the browser's description
}

// Error implements error.
func (e *remoteError) Error() string { return e.Code + ": " + e.Message }

// isElementGone reports whether a command failed because its element is no longer in the document.
func isElementGone(err error) bool {
	var e *remoteError
	return errors.As(err, &e) && (e.Code == "stale element reference" || e.Code == "no such element")
}

// commands has the HTTP method and path of each command.
var commands = map[string]struct{ method, path string }{
	"Navigate":           {http.MethodPost, "/url"},
	"GetCurrentURL":      {http.MethodGet, "/url"},
	"Back":               {http.MethodPost, "/back"},
	"Refresh":            {http.MethodPost, "/refresh"},
	"FindElements":       {http.MethodPost, "/elements"},
	"GetActiveElement":   {http.MethodGet, "/element/active"},
	"IsElementDisplayed": {http.MethodGet, "/element/{element}/displayed"},
	"GetElementTagName":  {http.MethodGet, "/element/{element}/name"},
	"ElementClick":       {http.MethodPost, "/element/{element}/click"},
	"ElementClear":       {http.MethodPost, "/element/{element}/clear"},
	"ElementSendKeys":    {http.MethodPost, "/element/{element}/value"},
	"PerformActions":     {http.MethodPost, "/actions"},
	"ExecuteScript":      {http.MethodPost, "/execute/sync"},
	"GetWindowHandle":    {http.MethodGet, "/window"},
	"GetWindowHandles":   {http.MethodGet, "/window/handles"},
	"SwitchToWindow":     {http.MethodPost, "/window"},
	"CloseWindow":        {http.MethodDelete, "/window"},
	"GetCookies":         {http.MethodGet, "/cookie"},
	"DeleteAllCookies":   {http.MethodDelete, "/cookie"},
}

// An httpRemote sends commands to a driver, such as chromedriver, by WebDriver's HTTP interface.
type httpRemote struct {
	base   string // the address of the driver, and later of the session
	client http.Client
}

// open waits until the driver answers, and starts a session.
func (r *httpRemote) open(ctx context.Context, capabilities object) error {
	var err error
	for {
		if err = r.do(ctx, http.MethodGet, "/status", nil, nil); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the driver does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	var session struct {
		ID string `json:"sessionId"`
	}
	params := object{"capabilities": object{"alwaysMatch": capabilities}}
	if err := r.do(ctx, http.MethodPost, "/session", params, &session); err != nil {
		return err
	}
	r.base += "/session/" + session.ID
	return nil
}

func (r *httpRemote) call(ctx context.Context, command string, params object, result any) error {
	c, ok := commands[command]
	if !ok {
		return fmt.Errorf("unknown command %s", command)
	}
	path := c.path
	if element, ok := params["element"].(string); ok {
		path = strings.ReplaceAll(path, "{element}", element)
	}
	return r.do(ctx, c.method, path, params, result)
}

// do sends one command. A failure that the browser reports is a *remoteError.
func (r *httpRemote) do(ctx context.Context, method, path string, params object, result any) error {
	var body io.Reader
	if method == http.MethodPost {
		if params == nil {
			params = object{}
		}
		encoded, err := json.Marshal(params)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, r.base+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("answer %d to %s %s: %w", response.StatusCode, method, path, err)
	}
	if response.StatusCode != http.StatusOK {
		failed := &remoteError{}
		if err := json.Unmarshal(answer.Value, failed); err != nil || failed.Code == "" {
			return fmt.Errorf("answer %d to %s %s: %s", response.StatusCode, method, path, answer.Value)
		}
		return failed
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, result)
}

// A marionette is a connection to Firefox's remote protocol. Each message is JSON, preceded by
// its length and a colon.
type marionette struct {
	conn net.Conn
	id   int
}

// open reads the greeting and starts a session.
func (m *marionette) open(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := m.conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := m.read(); err != nil {
		return err
	}
	return m.call(ctx, "NewSession", object{}, nil)
}

// call implements remote. A command is [0, id, name, params]; an answer is [1, id, error, result].
func (m *marionette) call(ctx context.Context, command string, params object, result any) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := m.conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	sent := object{}
	for name, value := range params {
		if name == "element" {
			name = "id" // as Marionette calls it
		}
		sent[name] = value
	}
	m.id++
	message, err := json.Marshal([]any{0, m.id, "WebDriver:" + command, sent})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(m.conn, "%d:%s", len(message), message); err != nil {
		return err
	}
	for {
		message, err := m.read()
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		var answer []json.RawMessage
		if err := json.Unmarshal(message, &answer); err != nil || len(answer) != 4 {
			return fmt.Errorf("unexpected answer %s", message)
		}
		if string(answer[1]) != strconv.Itoa(m.id) {
			continue // the answer to an earlier call that timed out
		}
		if string(answer[2]) != "null" {
			failed := &remoteError{}
			if err := json.Unmarshal(answer[2], failed); err != nil {
				return err
			}
			return failed
		}
		if result == nil {
			return nil
		}
		var wrapped map[string]json.RawMessage // Marionette wraps some results in {"value": …}
		if json.Unmarshal(answer[3], &wrapped) == nil && len(wrapped) == 1 && wrapped["value"] != nil {
			answer[3] = wrapped["value"]
		}
		return json.Unmarshal(answer[3], result)
	}
}

// read reads one message: its length in decimal, a colon, and JSON.
func (m *marionette) read() ([]byte, error) {
	length := 0
	for digit := []byte{0}; ; {
		if _, err := io.ReadFull(m.conn, digit); err != nil {
			return nil, err
		}
		if digit[0] == ':' {
			break
		}
		if digit[0] < '0' || digit[0] > '9' || length > 1<<26 {
			return nil, errors.New("the message does not begin with a valid length")
		}
		length = length*10 + int(digit[0]-'0')
	}
	message := make([]byte, length)
	_, err := io.ReadFull(m.conn, message)
	return message, err
}
