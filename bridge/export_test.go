package bridge

import (
	"net/http"
	"slices"

	"github.com/gorilla/mux"
)

// InProcess returns a RoundTripper that calls a handler without a network.
func InProcess(h http.Handler) http.RoundTripper { return inProcess{h} }

// RoutesThatPost returns the path templates of all routes that take a POST.
func RoutesThatPost(b *Bridge) (templates []string) {
	_ = b.router.(*mux.Router).Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		methods, err := route.GetMethods()
		if err == nil && !slices.Contains(methods, http.MethodPost) {
			return nil
		}
		template, err := route.GetPathTemplate()
		if err == nil && template != "/static/" {
			templates = append(templates, template)
		}
		return nil
	})
	return templates
}
