package slack

import (
	"context"

	"cobrowse-bridge/bridge/chat"

	slackapi "github.com/slack-go/slack"
)

// Slack's codes for a trigger that has expired, or that was used already. Its guide and its
// method pages have different codes (docs.slack.dev/reference/methods/views.open).
var (
	lateTriggers = []string{"expired_trigger_id", "trigger_expired", "invalid_trigger_id"}
	usedTriggers = []string{"exchanged_trigger_id", "trigger_exchanged", "duplicate_external_id"}
)

// dialog opens the dialog in which an agent names the visitor. A trigger expires after three
// seconds, so dialog first opens an empty dialog and fills it afterwards. If the trigger has
// expired, it sends a message with a button instead; a press on it brings a new trigger.
func (c *connector) dialog(ctx context.Context, key string, k kept, p place) (chat.Ask, error) {
	id := digest("dialog", key)
	late, err := c.openDialog(ctx, id, k.Trigger)
	if err != nil {
		return chat.Ask{}, err
	}
	agent, why, err := c.agent(ctx, k)
	if err != nil {
		return chat.Ask{}, err
	}
	view, ask := c.searching(id), chat.Ask{}
	if why != "" {
		// The bridge tells the agent the reason and writes it to the audit log.
		view, ask = modal(id, slackapi.NewSectionBlock(plainText(modalRefused), nil, nil)), refusal(k, agent, p, why)
	}
	switch {
	case !late:
		_, err = c.api().UpdateViewContext(ctx, view, id, "", "")
		if refusedAs(err, "not_found", "view_not_found") {
			err = nil // the agent has closed the dialog
		}
		if why != "" && unfit(err) {
			err = nil // the refusal is more important
		}
		err = c.fault("POST views.update", err)
	case why == "" && p.kind == placeReply:
		_, err = c.reply(ctx, p, key+".open", "", offer())
	case why == "":
		_, err = c.post(ctx, p, key+".open", "", offer())
	}
	return ask, err
}

// openDialog opens the empty dialog. late says that the trigger has expired or does not work.
func (c *connector) openDialog(ctx context.Context, id, trigger string) (late bool, err error) {
	if trigger == "" {
		return true, nil
	}
	_, err = c.api().OpenViewContext(ctx, trigger, modal(id, slackapi.NewSectionBlock(plainText(modalWait), nil, nil)))
	switch {
	case err == nil, refusedAs(err, usedTriggers...):
		return false, nil
	case unfit(err): // also if the trigger has expired
		return true, nil
	default:
		return false, c.fault("POST views.open", err)
	}
}

// modal makes a view. All views of a dialog have the same external_id, so that a dialog can
// be filled even if the answer to its opening was lost.
func modal(id string, blocks ...slackapi.Block) slackapi.ModalViewRequest {
	return slackapi.ModalViewRequest{
		Type: slackapi.VTModal, Title: plainText(modalTitle), Close: plainText(modalDone), ExternalID: id,
		Blocks: slackapi.Blocks{BlockSet: blocks},
	}
}

// searching makes the view with the field for the customer.
func (c *connector) searching(id string) slackapi.ModalViewRequest {
	input := slackapi.NewPlainTextInputBlockElement(plainText(modalExample), inputQuery)
	input.MaxLength = 254
	v := modal(id, slackapi.NewInputBlock(blockQuery, plainText(modalLabel), plainText(modalHint(c.emails)), input))
	v.CallbackID, v.Submit, v.Close = viewSearch, plainText(modalSubmit), plainText(modalClose)
	return v
}
