package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

type tokenCommand struct {
	Out   string `required:"" placeholder:"FILE" help:"The file to write the token into. It must not be there; only you will be able to read it."`
	Email string `help:"Whose token: an agent's e-mail address, where the endpoint takes one."`
	Yes   bool   `help:"Do it. Without this, only say what would be done."`
}

// tokenLost says what may be left behind where there is no token to keep, and nobody
// refused to make one.
const tokenLost = "Chatvisor may have made a token that is valid and that nobody has: look there, and revoke it, before you try again"

// Run mints a token, which nobody gets to see but who may read the file.
func (t tokenCommand) Run(ctx context.Context, c *Command, k *kong.Context) error {
	d, err := c.console(k)
	if err != nil {
		return err
	}
	return d.mint(ctx, t)
}

func (d *console) mint(ctx context.Context, t tokenCommand) (err error) {
	e, err := d.step(mintToken)
	if err != nil {
		return err
	}
	values := map[placeholder]any{}
	switch wants := e.has("email"); {
	case wants && !address(t.Email):
		return errors.New("say whose token with --email: endpoints.mint_token has {email}")
	case !wants && t.Email != "":
		return errors.New("--email says nothing to this endpoint: endpoints.mint_token has no {email}")
	case wants:
		values["email"] = strings.ToLower(t.Email)
	}
	if !t.Yes {
		d.out("A token would be minted with %s %s.", e.method, e.where())
		d.out(dryRun)
		return nil
	}
	// First the file: a token that cannot be kept would be lost, and valid.
	file, err := openSecret(t.Out)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err == nil {
			return
		}
		if _, put := errors.AsType[*turnError](err); !put && refusal(err) == 0 {
			err = fmt.Errorf("%w. %s", err, tokenLost)
		}
		err = errors.Join(err, os.Remove(t.Out))
	}()
	_, answer, err := d.take(ctx, mintToken, values, maxPrompt)
	if err != nil {
		return d.classify(err)
	}
	token := e.result.text(answer)
	if !visible(token) {
		return fmt.Errorf("what %s answers has no token at result; it looks like %s", e.name, skeleton(answer))
	}
	if _, err := file.WriteString(token + "\n"); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	d.done(ctx, "token minted", "file", t.Out)
	d.out("The token is in %s.", t.Out)
	return nil
}
