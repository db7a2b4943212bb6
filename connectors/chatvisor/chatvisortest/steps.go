package chatvisortest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// serveStep serves the steps whose paths are not documented. It returns false if no step
// has the path.
func (s *Service) serveStep(w http.ResponseWriter, r *http.Request, parts []string, body []byte) bool {
	step := r.Method + " " + parts[0]
	switch n := len(parts); {
	case step == "GET who" && n == 3 && parts[2] == "card":
		s.customer(w, parts[1])
	case step == "GET talks" && n == 1:
		s.talks(w, r)
	case step == "PUT mark" && n == 2:
		s.mark(w, parts[1], body)
	case step == "GET curtain" && n == 1:
		answer(w, http.StatusOK, object{"curtain": object{"open": s.visible}})
	case step == "PATCH curtain" && n == 1:
		var in struct{ Curtain struct{ Open *bool } }
		if json.Unmarshal(body, &in) != nil || in.Curtain.Open == nil {
			answer(w, http.StatusUnprocessableEntity, object{})
			return true
		}
		s.visible = *in.Curtain.Open
		w.WriteHeader(http.StatusNoContent)
	case parts[0] == "staff":
		return s.staff(w, r, parts[1:], body)
	case step == "POST way" && n == 2:
		site := s.Site
		if site == "" {
			site = "https://app.chatvisor.com"
		}
		way := site + "/enter/" + rand.Text()
		s.minted = append(s.minted, way)
		answer(w, http.StatusOK, object{"way": object{"in": way}})
	case step == "POST key" && n == 1:
		key := "tok-" + rand.Text()
		s.minted = append(s.minted, key)
		answer(w, http.StatusCreated, object{"key": object{"plain": key}})
	default:
		return false
	}
	return true
}

func (s *Service) customer(w http.ResponseWriter, id string) {
	i := slices.IndexFunc(s.customers, func(c *conversation) bool { return c.ID == id })
	if i < 0 {
		answer(w, http.StatusNotFound, object{"error": "no such customer"})
		return
	}
	c := s.customers[i]
	own := object{"key": c.ExternalID}
	if n, err := strconv.Atoi(c.ExternalID); err == nil {
		own["key"] = n // the vendor documents it as a number and as a text
	}
	profile := object{"called": c.Name, "mail": c.Email, "marks": append([]string{}, c.Labels...), "own": own, "nick": nil, "asleep": false}
	if c.OmitEmpty && len(c.Labels) == 0 {
		delete(profile, "marks")
	}
	if c.OmitEmpty && c.ExternalID == "" {
		delete(own, "key")
	}
	answer(w, http.StatusOK, object{"nr": c.ID, "profile": profile})
}

func (s *Service) talks(w http.ResponseWriter, r *http.Request) {
	page, size := number(r, "from", 1), number(r, "many", 50)
	rows := []object{}
	for _, c := range s.customers {
		if c.status != "" {
			rows = append(rows, object{"customerId": c.ID, "status": c.status, "lastMessage": object{"text": c.last}})
		}
	}
	answer(w, http.StatusOK, object{"talks": object{"all": cut(rows, max(page, 1)-1, size)}})
}

func (s *Service) mark(w http.ResponseWriter, id string, body []byte) {
	var in struct {
		Marks []string
		Own   struct{ Key any }
	}
	if json.Unmarshal(body, &in) != nil || in.Marks == nil {
		answer(w, http.StatusUnprocessableEntity, object{})
		return
	}
	c := s.find(id)
	if s.Relabel != nil {
		in.Marks = s.Relabel(c.Labels, in.Marks)
	}
	c.Labels = in.Marks
	switch key := in.Own.Key.(type) {
	case string:
		c.ExternalID = key
	case float64:
		c.ExternalID = strconv.FormatFloat(key, 'f', -1, 64)
	}
	answer(w, http.StatusOK, object{})
}

func (s *Service) staff(w http.ResponseWriter, r *http.Request, parts []string, body []byte) bool {
	var in struct{ Login, First, Last string }
	if r.Method != http.MethodGet && r.Method != http.MethodDelete && json.Unmarshal(body, &in) != nil {
		answer(w, http.StatusUnprocessableEntity, object{})
		return true
	}
	index := -1
	if len(parts) == 1 {
		index = slices.IndexFunc(s.agents, func(a Agent) bool { return a.ID == parts[0] })
	}
	switch {
	case len(parts) == 0 && r.Method == http.MethodGet:
		rows := []object{}
		for _, a := range s.agents {
			rows = append(rows, object{"nr": a.ID, "login": a.Email, "first": a.Firstname, "last": a.Lastname})
		}
		answer(w, http.StatusOK, cut(rows, number(r, "page", 0), 3))
	case len(parts) == 0 && r.Method == http.MethodPost && slices.ContainsFunc(s.agents, func(a Agent) bool { return a.Email == in.Login }):
		answer(w, http.StatusConflict, object{})
	case len(parts) == 0 && r.Method == http.MethodPost:
		a := Agent{"s-" + rand.Text()[:6], in.Login, in.First, in.Last}
		s.agents = append(s.agents, a)
		answer(w, http.StatusCreated, object{"nr": a.ID})
	case index < 0:
		return false
	case r.Method == http.MethodPatch:
		s.agents[index].Firstname, s.agents[index].Lastname = in.First, in.Last
		answer(w, http.StatusOK, object{})
	case r.Method == http.MethodDelete:
		s.agents = slices.Delete(s.agents, index, index+1)
		w.WriteHeader(http.StatusNoContent)
	default:
		return false
	}
	return true
}
