package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/alecthomas/kong"
)

type tokenCommand struct {
	Out   string `required:"" placeholder:"FILE" help:"New file for the token, readable only by you. It must not exist."`
	Email string `help:"E-mail address of the agent whose token it is, if the endpoint has {email}."`
	Yes   bool   `help:"Create the token. Without it, only print the request."`
}

// tokenMayExist is added to an error after which a token may exist that is in no file.
const tokenMayExist = "Chatvisor may have created a valid token: find and revoke it in Chatvisor before you try again"

// Run creates a token, writes it to a file and prints it nowhere.
func (t tokenCommand) Run(ctx context.Context, c *Command, k *kong.Context) error {
	d, err := c.console(k)
	if err != nil {
		return err
	}
	return d.mint(ctx, t)
}

func (d *console) mint(ctx context.Context, t tokenCommand) (err error) {
	e, err := d.Step(rules.MintToken)
	if err != nil {
		return err
	}
	values := rules.Values{}
	switch wants := e.Has("email"); {
	case wants && !validAddress(t.Email):
		return errors.New("add --email with the agent's e-mail address: endpoints.mint_token uses {email}")
	case !wants && t.Email != "":
		return errors.New("remove --email: endpoints.mint_token does not use {email}")
	case wants:
		values["email"] = strings.ToLower(t.Email)
	}
	if !t.Yes {
		d.out("The token would be created with %s %s.", e.Method, e.Where())
		d.out(dryRun)
		return nil
	}
	// The file comes first: a token that cannot be written would be lost, but valid.
	file, err := openSecret(t.Out)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err == nil {
			return
		}
		if !api.IsPostponed(err) && api.StatusOf(err) == 0 {
			err = fmt.Errorf("%w. %s", err, tokenMayExist)
		}
		err = errors.Join(err, os.Remove(t.Out))
	}()
	_, answer, err := d.RunStep(ctx, rules.MintToken, values, api.PersonWait)
	if err != nil {
		return d.Classify(err)
	}
	token := e.Result.Text(answer)
	if !rules.Visible(token) {
		return fmt.Errorf("%s: no token at result in the answer; fields of the answer: %s", e.Name, rules.Skeleton(answer))
	}
	if _, err := file.WriteString(token + "\n"); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	d.logChange(ctx, "token minted", "file", t.Out)
	d.out("The token is in %s.", t.Out)
	return nil
}
