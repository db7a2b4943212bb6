package commands

import (
	"errors"
	"slices"
	"strconv"

	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/tidwall/gjson"
)

// The errors for a path that leads to nothing: the path is wrong, or the customer has no
// value yet.
var (
	errNoLabels     = errors.New("the customer has nothing at labels_path")
	errNoExternalID = errors.New("the customer has nothing at external_id_path")
)

// customerLabels returns a customer's labels. It accepts only a list of texts: with a wrong
// path, tagging would delete the labels that the customer has.
func customerLabels(r *rules.Rules, customer gjson.Result) ([]string, error) {
	if !r.Labels.Given() {
		return nil, errors.New("labels_path is not set, and without it the customer's labels would be lost: set it")
	}
	for _, path := range r.Labels.All {
		list := customer.Get(path)
		if list.Type == gjson.Null { // also if there is nothing
			continue
		}
		if !list.IsArray() {
			return nil, errors.New("the value at labels_path is not a list")
		}
		var labels []string
		for _, one := range list.Array() {
			if one.Type != gjson.String {
				return nil, errors.New("the value at labels_path is not a list of texts")
			}
			if !slices.Contains(labels, one.Str) {
				labels = append(labels, one.Str)
			}
		}
		return labels, nil
	}
	return nil, errNoLabels
}

// customerExternalID returns a customer's external id; empty if the value is null or an
// empty text. A path that leads to nothing is an error: with a wrong path, a customer who
// has an id would seem to have none.
func customerExternalID(r *rules.Rules, customer gjson.Result) (string, error) {
	err := errNoExternalID
	for _, path := range r.ExternalID.All {
		switch id := customer.Get(path); {
		case !id.Exists():
		case id.Type == gjson.Null, id.Type == gjson.String, id.Type == gjson.Number:
			err = nil
		default:
			return "", errors.New("the value at external_id_path is neither a text nor a number")
		}
	}
	return r.ExternalID.Text(customer), err
}

// externalValue returns an external id in the type of external_id_type.
func externalValue(r *rules.Rules, id string) (any, error) {
	if !rules.PlausibleID(id) {
		return nil, errors.New("--external-id must be 1 to 128 letters, digits and . _ : @ = + ~ -")
	}
	if !r.NumericID {
		return id, nil
	}
	n, err := strconv.Atoi(id)
	if err != nil || strconv.Itoa(n) != id {
		return nil, errors.New("--external-id is not a number, but external_id_type is number")
	}
	return n, nil
}
