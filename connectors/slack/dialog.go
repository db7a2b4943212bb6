package slack

import (
	"context"

	slackapi "github.com/slack-go/slack"

	"cobrowse-bridge/bridge"
)

// Slack's codes for a trigger that was too late, or used already; guide and
// method pages name them differently (docs.slack.dev/reference/methods/views.open).
var (
	lateTriggers = []string{"expired_trigger_id", "trigger_expired", "invalid_trigger_id"}
	usedTriggers = []string{"exchanged_trigger_id", "trigger_exchanged", "duplicate_external_id"}
)

// dialog opens the dialog in which an agent names the visitor. A trigger lives
// three seconds, so an empty dialog is opened before anything else is asked, and
// filled afterwards. Where even that is too late, a message offers a button,
// whose press brings a fresh trigger.
func (c *connector) dialog(ctx context.Context, key string, k kept, p place) (bridge.Ask, error) {
	id := digest("dialog", key)
	late, err := c.openDialog(ctx, id, k.Trigger)
	if err != nil {
		return bridge.Ask{}, err
	}
	agent, why, err := c.agent(ctx, k)
	if err != nil {
		return bridge.Ask{}, err
	}
	view, ask := searching(id), bridge.Ask{}
	if why != "" {
		// The engine tells them why, and keeps it on record.
		view, ask = modal(id, slackapi.NewSectionBlock(plainText(modalRefused), nil, nil)), refusal(k, agent, p, why)
	}
	switch {
	case !late:
		_, err = c.api.UpdateViewContext(ctx, view, id, "", "")
		if refusedAs(err, "not_found", "view_not_found") {
			err = nil // closed meanwhile
		}
		if err = c.fault("POST views.update", err); why != "" && bridge.IsPermanent(err) {
			err = nil // what counts is the refusal
		}
	case why == "" && p.kind == placeReply:
		_, err = c.reply(ctx, p, key+".open", "", offer())
	case why == "":
		_, err = c.post(ctx, p, key+".open", "", offer())
	}
	return ask, err
}

// openDialog reports whether it was too late to open it.
func (c *connector) openDialog(ctx context.Context, id, trigger string) (late bool, err error) {
	if trigger == "" {
		return true, nil
	}
	_, err = c.api.OpenViewContext(ctx, trigger, modal(id, slackapi.NewSectionBlock(plainText(modalWait), nil, nil)))
	switch fault := c.fault("POST views.open", err); {
	case err == nil, refusedAs(err, usedTriggers...):
		return false, nil
	case refusedAs(err, lateTriggers...), bridge.IsPermanent(fault):
		return true, nil
	default:
		return false, fault
	}
}

// The views share an external_id, so that one whose opening was not answered can
// be filled all the same.
func modal(id string, blocks ...slackapi.Block) slackapi.ModalViewRequest {
	return slackapi.ModalViewRequest{
		Type: slackapi.VTModal, Title: plainText(modalTitle), Close: plainText(modalDone), ExternalID: id,
		Blocks: slackapi.Blocks{BlockSet: blocks},
	}
}

func searching(id string) slackapi.ModalViewRequest {
	input := slackapi.NewPlainTextInputBlockElement(plainText(modalExample), inputQuery)
	input.MaxLength = 254
	v := modal(id, slackapi.NewInputBlock(blockQuery, plainText(modalLabel), plainText(modalHint), input))
	v.CallbackID, v.Submit, v.Close = viewSearch, plainText(modalSubmit), plainText(modalClose)
	return v
}
