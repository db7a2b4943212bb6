package bridge_test

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/signin/signintest"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
)

// BRIDGE_TEST_SEED is the seed of all populations, or "random". A failed test prints its seed
// and the number of the population. With that number, BRIDGE_TEST_POPULATION runs only the
// populations of the same two agents.
const (
	seedVariable       = "BRIDGE_TEST_SEED"
	populationVariable = "BRIDGE_TEST_POPULATION"
)

const (
	// batch is how many populations run in one world at the same time, and so share its
	// virtual time.
	batch = 200
	// generations is how many populations two agents serve one after the other. Each has new
	// customers; open chats go on.
	generations = 6
)

// howMany returns the number in an environment variable, or usual if it is not set.
func howMany(t *testing.T, variable string, usual int) int {
	t.Helper()
	given := os.Getenv(variable)
	if given == "" {
		return usual
	}
	n, err := strconv.Atoi(given)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPromise7NoWrongScreenInRandomPopulations checks that no agent sees a wrong screen,
// whatever customers and agents do. A population is a few customers at Upscope, a few chats and
// two agents. Customers come, leave and sign in; chats are handed over; the chat service fails
// at times; the agents press. The test knows the true state and checks each watch link.
func TestPromise7NoWrongScreenInRandomPopulations(t *testing.T) {
	t.Parallel()
	seed, populations, only := uint64(1), howMany(t, "BRIDGE_TEST_POPULATIONS", 300), -1 // 10,000 take a minute
	switch given := os.Getenv(seedVariable); given {
	case "":
	case "random":
		var b [8]byte
		_, _ = rand.Read(b[:])
		seed = binary.LittleEndian.Uint64(b[:])
	default:
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if given := os.Getenv(populationVariable); given != "" {
		var err error
		if only, err = strconv.Atoi(given); err != nil {
			t.Fatal(err)
		}
	}
	var sum tally
	t.Cleanup(func() {
		t.Logf("%s", &sum)
		if t.Failed() {
			t.Logf("to repeat it: %s=%d", seedVariable, seed)
			return
		}
		if only < 0 {
			sum.check(t)
		}
	})
	for first := 0; first < populations/generations; first += batch {
		if only >= 0 && (only < first || only >= first+batch) {
			continue
		}
		t.Run(strconv.Itoa(first), func(t *testing.T) {
			runBatch(t, seed, first, min(batch, (populations+generations-1)/generations-first), only, &sum)
		})
	}
}

// runBatch runs n populations at the same time in one world. In every fifth world agents sign
// in.
func runBatch(t *testing.T, seed uint64, first, n, only int, sum *tally) {
	network := newWire()
	quiet := slog.New(slog.DiscardHandler) // each population keeps its own log, in story
	opts := []options{{
		transport:  network.transport(0),
		config:     func(c *bridge.Config) { c.Log = quiet },
		rocketchat: func(c *rocketchat.Config) { c.Log = quiet },
	}}
	var o *oidcWorld
	if first/batch%5 == 1 {
		o = newOIDCWorld(t, "")
		config := signintest.Config{URL: issuer, ClientID: "bridge", ClientSecret: clientSecret, Redirect: origin + "/signin/callback"}
		for i := first; i < first+n; i++ {
			for _, name := range agentNames(i) {
				config.Users = append(config.Users, signintest.User{Sub: name, Name: name, Email: name + "@example.org"})
			}
		}
		o.issuer = signintest.New(config)
		opts = append(opts, o.opts...)
		opts = append(opts, linkEmail, options{rocketchat: readsEmails})
	}
	t.Parallel()
	file := fileInMemory(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, file, opts...)
		defer w.log.reset()
		if o != nil {
			o.world = w
		}
		var chats sync.Map
		network.onRead = func(room string) {
			if c, ok := chats.Load(room); ok {
				c.(*popChat).lastRead.Store(c.(*popChat).present.Load())
			}
		}
		var running sync.WaitGroup
		for i := first; i < first+n; i++ {
			if only >= 0 && i != only {
				continue
			}
			p := &population{
				world: w, wire: network, number: i, chatsByRoom: &chats, sum: sum,
				random: mathrand.New(mathrand.NewPCG(seed, uint64(i))),
			}
			for a, name := range agentNames(i) {
				agent := &popAgent{name: name, id: fmt.Sprintf("id-%s", name), actor: fmt.Sprintf("rocketchat:id-%s", name), browser: w.browser()}
				w.chat.AddUser(rocketchattest.User{ID: agent.id, Username: name, Name: name, Email: name + "@example.org", Roles: []string{"user", "livechat-agent"}})
				if o != nil {
					agent.browser, agent.actor, agent.signedIn = o.signedIn(name), "oidc:login.example.org/"+name, true
				}
				p.agents[a] = agent
			}
			running.Go(p.run)
		}
		running.Wait()
	})
}

// fileInMemory returns the path of an empty store in memory, if the system supports it. This
// test does not need durable writes.
func fileInMemory(t *testing.T) string {
	folder, err := os.MkdirTemp("/dev/shm", "bridge-test-")
	if err != nil {
		folder = t.TempDir()
	} else {
		t.Cleanup(func() { os.RemoveAll(folder) })
	}
	file := filepath.Join(folder, "bridge.db")
	if err := os.WriteFile(file, emptyStore(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func agentNames(population int) [2]string {
	return [2]string{fmt.Sprintf("bob%d", population), fmt.Sprintf("eve%d", population)}
}

// reset empties the log.
func (l *logBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// A tally counts the results of presses.
type tally struct {
	populations, presses, links, mustOpen, opened, withoutPage, repeated, wrong atomic.Int64
}

func (s *tally) String() string {
	return fmt.Sprintf("%d populations, %d presses, %d links (%d without a page, %d repeated); %d of %d presses that had to open a screen did; %d wrong",
		s.populations.Load(), s.presses.Load(), s.links.Load(), s.withoutPage.Load(), s.repeated.Load(), s.opened.Load(), s.mustOpen.Load(), s.wrong.Load())
}

// check fails the test if too few presses led to a screen to prove anything.
func (s *tally) check(t *testing.T) {
	presses, mustOpen, opened := s.presses.Load(), s.mustOpen.Load(), s.opened.Load()
	if s.links.Load() < presses/8 || mustOpen < presses/25 || opened < mustOpen*97/100 || s.withoutPage.Load() == 0 || s.repeated.Load() == 0 {
		t.Errorf("too few presses opened a screen: %s", s)
	}
}

// A population holds the true state of its customers, chats and agents.
type population struct {
	*world
	wire         *wire
	number       int
	random       *mathrand.Rand
	agents       [2]*popAgent
	browsers     []*popBrowser
	chats        []*popChat
	chatsByRoom  *sync.Map
	sum          *tally
	serial       int
	checkedLinks int // how many watch links of its agents are checked already
	byURL        map[string]minted
	labels       map[string]string // by URL: the label of the visitor when the link was made
	story        []string          // the log of this population
}

type popAgent struct {
	name, id, actor string
	signedIn        bool
	browser         *browser
	openedScreen    bool // whether a press led to a screen before; then link mode knows the browser
}

// A popBrowser is a customer's browser at Upscope. Label is a name that changes whenever
// another customer uses the browser, so that a page shows which one it means.
type popBrowser struct {
	id, label, key, unique, code string
	online                       bool
}

// A popChat is a chat. Agents are indexes into population.agents; -1 is no agent.
type popChat struct {
	number        int
	room          string
	key, code     string
	present       atomic.Pointer[assignment] // who serves the chat now
	lastRead      atomic.Pointer[assignment] // what the bridge read last
	acknowledged  *assignment                // the latest one whose event the bridge acknowledged
	queued        []popEvent                 // not delivered yet
	outage        outage
	shown         [2]map[string]bool // labels that the last page or card showed, by agent
	forms         [2][]popForm       // on the pages so far, by agent
	chosen        map[string]string  // by short id: the label of a visitor chosen among several
	pressedOnPage map[string]string  // by short id: the label of a visitor pressed for on any page
	lastLink      [2]minted          // the latest watch link, by agent
}

// An assignment is the agent who serves a chat from one change to the next.
type assignment struct {
	serial int
	open   bool
	agent  int
}

func (t *assignment) isServedBy(agent int) bool { return t != nil && t.open && t.agent == agent }

type popEvent struct {
	assignment *assignment
	kind       string
	body       []byte
	header     http.Header
}

// A popForm is a button on a page: its visitor, and whether the page offered several.
type popForm struct {
	value, id, label string
	severalOffered   bool
}

func (p *population) note(format string, args ...any) {
	p.story = append(p.story, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

func (p *population) fail(format string, args ...any) {
	p.sum.wrong.Add(1)
	p.Errorf("population %d: %s\n%s", p.number, fmt.Sprintf(format, args...), strings.Join(p.story, "\n"))
}

// chance returns true with a probability of percent in 100.
func (p *population) chance(percent int) bool { return p.random.IntN(100) < percent }

func pick[T any](p *population, of ...T) T { return of[p.random.IntN(len(of))] }

func (p *population) run() {
	p.byURL, p.labels = map[string]minted{}, map[string]string{}
	time.Sleep(time.Duration(p.random.IntN(2000)) * time.Millisecond)
	for range generations {
		p.sum.populations.Add(1)
		p.startGeneration()
		for range 2 + p.random.IntN(2) {
			p.round()
			time.Sleep(pick(p, 0, 0, 200*time.Millisecond, time.Second, 3100*time.Millisecond, 5*time.Second))
		}
	}
	for _, c := range p.chats { // so that no job of these chats goes on
		p.wire.fail(c.room, working)
	}
}

// startGeneration replaces the customers, and opens new chats in place of closed ones.
func (p *population) startGeneration() {
	for _, b := range p.browsers {
		p.upscope.Expire(b.id)
		p.note("Upscope forgets %s", b.label)
	}
	p.browsers = nil
	going := p.chats
	p.chats = nil
	for _, c := range going {
		if c.present.Load().open || p.chance(20) {
			p.chats = append(p.chats, c)
			if c.key != "" {
				p.addBrowser(c.key, "")
			}
		}
	}
	fresh := len(p.chats) == 0
	if fresh {
		p.openPopChat()
	}
	if p.chance(20) && len(p.chats) < 2 {
		p.openPopChat()
		fresh = true
	}
	if p.chance(50) {
		p.addBrowser(fmt.Sprintf("key-%d-else-0123456789", p.number), "")
	}
	if fresh {
		time.Sleep(1500 * time.Millisecond) // for the cards
	}
}

// openPopChat opens a chat.
func (p *population) openPopChat() {
	p.serial++
	c := &popChat{number: p.serial, chosen: map[string]string{}, pressedOnPage: map[string]string{}}
	for a := range p.agents {
		c.shown[a] = map[string]bool{}
	}
	fields := map[string]string{}
	if p.number%10 == 0 && p.serial == 1 { // few, because all chats share the limit on codes
		c.code = fmt.Sprintf("%04d", p.number*7%10_000)
		b := p.addBrowser("", c.code)
		if p.chance(10) {
			b.online = false
			p.storeAtUpscope(b)
		}
		if p.chance(20) {
			p.addBrowser("", c.code) // the same code
		}
		fields["upscope_code"] = c.code
	} else {
		c.key = fmt.Sprintf("key-%d-%d-0123456789", p.number, c.number)
		p.addBrowser(c.key, "")
		if p.chance(15) {
			p.addBrowser(c.key, "") // a second match
		}
		if p.chance(95) {
			fields["upscope_key"] = c.key
		}
	}
	c.room = p.openChat(fields)
	p.chatsByRoom.Store(c.room, c)
	p.chats = append(p.chats, c)
	p.reassign(c, "LivechatSessionTaken", true, p.random.IntN(10)/8, func(name string) { p.chat.Take(c.room, name) })
	p.deliverQueued(c, 0)
}

// addBrowser adds a customer who is online.
func (p *population) addBrowser(key, code string) *popBrowser {
	b := &popBrowser{key: key, code: code, online: true}
	b.id = p.upscope.Come(upscope.Visitor{})
	if p.chance(40) {
		b.unique = p.person()
	}
	p.browsers = append(p.browsers, b)
	p.relabel(b)
	p.note("%s comes: key %q, code %q, unique %q", b.label, b.key, b.code, b.unique)
	return b
}

func (p *population) person() string {
	p.serial++
	return fmt.Sprintf("cust-%d-%d", p.number, p.serial)
}

// relabel gives a browser a new label, because another customer uses it now.
func (p *population) relabel(b *popBrowser) {
	p.serial++
	b.label = fmt.Sprintf("Person%dx%d.", p.number, p.serial)
	p.storeAtUpscope(b)
}

// storeAtUpscope stores the present state of a browser at Upscope.
func (p *population) storeAtUpscope(b *popBrowser) {
	v := upscope.Visitor{
		ShortID: b.id, Name: b.label, BrowserName: b.label, DeviceName: "Windows", UniqueID: b.unique, LookupCode: b.code,
		IsOnline: b.online, IsSupported: true, SDK: "web", AddedAt: time.Now(), LastSeenAt: time.Now(), LastURL: "https://shop.example.org/basket",
	}
	if b.key != "" {
		v.Identities = []string{"rocketchat:" + b.key}
	}
	p.upscope.Add(v)
	if b.key != "" {
		p.upscope.SetIntegrationIDs(b.id, "rocketchat:"+b.key)
	}
}

// reassign gives a chat to an agent, puts it back in the queue or closes it. The event about
// it is delivered later.
func (p *population) reassign(c *popChat, kind string, open bool, agent int, change func(name string)) {
	serial := 1
	if before := c.present.Load(); before != nil {
		serial = before.serial + 1
	}
	name := ""
	if agent >= 0 {
		name = p.agents[agent].name
	}
	change(name)
	now := &assignment{serial, open, agent}
	c.present.Store(now)
	body, header := p.chat.Event(kind, c.room)
	c.queued = append(c.queued, popEvent{now, kind, body, header})
	p.note("chat %d: %s, served by %s", c.number, kind, cmp.Or(name, "nobody"))
}

// deliverQueued delivers the queued event n.
func (p *population) deliverQueued(c *popChat, n int) {
	if n >= len(c.queued) {
		return
	}
	e := c.queued[n]
	c.queued = append(c.queued[:n:n], c.queued[n+1:]...)
	if got := p.post("/hooks/rocketchat", e.body, e.header); got.StatusCode != http.StatusOK {
		p.fail("%s was answered %d", e.kind, got.StatusCode)
		return
	}
	if c.acknowledged == nil || c.acknowledged.serial < e.assignment.serial {
		c.acknowledged = e.assignment
	}
	p.note("chat %d: %s is acknowledged", c.number, e.kind)
}

// round lets agents look at pages, changes customers and chats, and lets agents press.
func (p *population) round() {
	if p.chance(45) {
		p.openPage(p.random.IntN(2), pick(p, p.chats...))
	}
	for range p.random.IntN(3) {
		if p.chance(60) {
			p.changeCustomer()
		} else {
			p.changeChat(pick(p, p.chats...))
		}
		time.Sleep(pick(p, 0, 0, 0, 100*time.Millisecond, 4*time.Second))
	}
	for range 1 + p.random.IntN(5)/3 {
		c := pick(p, p.chats...)
		agent := max(0, c.present.Load().agent)
		if p.chance(15) {
			agent = 1 - agent
		}
		p.press(agent, c)
	}
}

func (p *population) changeCustomer() {
	if len(p.browsers) == 0 {
		return
	}
	b := pick(p, p.browsers...)
	if p.chance(50) {
		b = p.browsers[0]
	}
	switch n := p.random.IntN(100); {
	case n < 12 && b.key != "": // a second browser with the same key
		p.addBrowser(b.key, "")
	case n < 30:
		b.online = !b.online
		p.storeAtUpscope(b)
		p.note("%s is online: %v", b.label, b.online)
	case n < 45: // the customer signs in
		was := b.label
		b.unique = p.person()
		p.relabel(b)
		p.note("%s becomes %s", was, b.label)
	case n < 55 && b.key != "": // another customer uses the browser
		was := b.label
		b.key = fmt.Sprintf("key-%d-other%d-0123456789", p.number, p.random.IntN(1000))
		p.relabel(b)
		p.note("%s becomes %s with key %q", was, b.label, b.key)
	case n < 75: // the browser is reset, and may get its key or unique id again
		b.online = false
		p.storeAtUpscope(b)
		fresh := &popBrowser{online: true, key: b.key}
		if p.chance(20) {
			fresh.key = ""
		}
		if p.chance(50) {
			fresh.unique = b.unique
		}
		fresh.id = p.upscope.Reset(b.id)
		p.browsers = append(p.browsers, fresh)
		p.relabel(fresh)
		p.note("%s goes on as %s with key %q", b.label, fresh.label, fresh.key)
	case n < 85:
		if code := pick(p, p.chats...).code; code != "" {
			for _, other := range p.browsers { // the code moves to a new browser
				if other.code == code && p.chance(80) {
					other.code = ""
					p.storeAtUpscope(other)
					p.note("%s loses its code", other.label)
				}
			}
			p.addBrowser("", code)
		}
	default:
		p.upscope.ChangePage(b.id, "https://shop.example.org/checkout")
	}
}

func (p *population) changeChat(c *popChat) {
	now := c.present.Load()
	switch n := p.random.IntN(100); {
	case n < 35:
		c.outage = pick(p, working, working, broken, broken, slow)
		p.wire.fail(c.room, c.outage)
		p.note("chat %d: outage %d", c.number, c.outage)
		return
	case n < 45:
		if len(c.queued) > 0 {
			p.deliverQueued(c, p.random.IntN(len(c.queued)))
		}
		return
	case !now.open:
		return
	case n < 75:
		p.reassign(c, "LivechatSessionForwarded", true, 1-max(0, now.agent), func(name string) { p.chat.Forward(c.room, name) })
	case n < 83:
		p.reassign(c, "LivechatSessionQueued", true, -1, func(string) { p.chat.Queue(c.room) })
	case n < 88:
		p.reassign(c, "LivechatSessionTaken", true, p.random.IntN(2), func(name string) { p.chat.Take(c.room, name) })
	default:
		p.reassign(c, "LivechatSession", false, -1, func(string) { p.chat.CloseChat(c.room) })
	}
	switch latest := len(c.queued) - 1; {
	case p.chance(60):
		p.deliverQueued(c, latest)
	case p.chance(50): // the event is lost
		p.note("chat %d: the event is lost", c.number)
		c.queued = c.queued[:latest]
	}
}

// door returns the path of the door in the agent's latest message about the chat, and the label there.
func (p *population) door(agent int, c *popChat) (door, label string) {
	posts := p.chat.Posts(p.agents[agent].name)
	for i := len(posts) - 1; i >= 0; i-- {
		if !strings.Contains(posts[i].Text, "/live/"+c.room+")") {
			continue
		}
		if m := doorAddress.FindStringSubmatch(posts[i].Text); m != nil {
			return m[1], labelForm.FindString(posts[i].Text)
		}
	}
	return "", ""
}

var labelForm = regexp.MustCompile(`Person[0-9]+x[0-9]+\.`)

// openPage has an agent open the page of a card.
func (p *population) openPage(agent int, c *popChat) {
	door, _ := p.door(agent, c)
	if door == "" {
		return
	}
	p.readPage(agent, c, p.agents[agent].browser.send(lookRequest(door)), "looks", nil)
}

// readPage records what an agent sees on a page, which may be the answer to a press. If the agent
// chose a visitor among several who has changed since, the page offers that visitor alone. The
// next press still counts as a choice.
func (p *population) readPage(agent int, c *popChat, page *answer, how string, pressed *popForm) {
	if page.StatusCode != http.StatusOK {
		p.note("chat %d: %s %s: %d", c.number, p.agents[agent].name, how, page.StatusCode)
		return
	}
	c.shown[agent] = map[string]bool{}
	forms := formsOn(page)
	for i, f := range forms {
		c.shown[agent][f.label] = true
		if pressed != nil && pressed.severalOffered && pressed.id == f.id {
			forms[i].severalOffered = true
		}
	}
	c.forms[agent] = append(c.forms[agent], forms...)
	p.note("chat %d: %s %s: %+v", c.number, p.agents[agent].name, how, forms)
}

// formsOn returns the buttons of a page. On a page for one visitor the last label is the
// visitor's; a label before it may be the one that the visitor had.
func formsOn(page *answer) (forms []popForm) {
	all := formValues(page)
	for id, value := range all {
		f := popForm{value: value, id: id, severalOffered: len(all) > 1}
		if f.severalOffered {
			_, after, _ := strings.Cut(page.body, `value="`+value+`"`)
			f.label = labelForm.FindString(after)
		} else if labels := labelForm.FindAllString(page.body, -1); labels != nil {
			f.label = labels[len(labels)-1]
		}
		forms = append(forms, f)
	}
	return forms
}

// press has an agent press, in one of several ways.
func (p *population) press(agent int, c *popChat) {
	door, label := p.door(agent, c)
	if door == "" {
		return
	}
	a := p.agents[agent]
	if label != "" {
		c.shown[agent][label] = true
	}
	var form *popForm
	fresh := false
	if !p.chance(35) {
		if p.chance(60) {
			before := len(c.forms[agent])
			p.openPage(agent, c)
			fresh = len(c.forms[agent]) > before
		}
		all := c.forms[agent]
		if len(all) == 0 {
			return
		}
		form = &all[len(all)-1]
		if p.chance(25) {
			form, fresh = &all[p.random.IntN(len(all))], false
		}
	}
	ask := func() *http.Request {
		if form == nil {
			return followRequest(door)
		}
		return postRequest(door, url.Values{"visitor": {form.value}})
	}
	mustOpen := p.mustOpen(agent, c, form, fresh)
	answers := []*answer{nil}
	if p.chance(15) {
		answers = append(answers, nil)
	}
	if len(answers) == 1 {
		answers[0] = a.browser.send(ask())
	} else {
		var both sync.WaitGroup
		for i := range answers {
			b := &browser{world: p.world, cookies: maps.Clone(a.browser.cookies)}
			both.Go(func() {
				answers[i] = b.send(ask())
			})
		}
		both.Wait()
	}
	p.sum.presses.Add(1)
	what := "the link"
	if form != nil {
		what = fmt.Sprintf("%+v", *form)
	}
	for _, got := range answers {
		p.note("chat %d: %s pressed %s: %d", c.number, a.name, what, got.StatusCode)
	}
	made := p.checkLinks(agent, c, form)
	opened := false
	for _, got := range answers {
		opened = p.checkAnswer(agent, c, form, got) || opened
	}
	for _, got := range answers {
		if got.StatusCode == http.StatusOK {
			p.readPage(agent, c, got, "is shown", form)
			break
		}
	}
	if mustOpen {
		p.sum.mustOpen.Add(1)
		if opened {
			p.sum.opened.Add(1)
		} else if os.Getenv(populationVariable) != "" {
			p.Logf("a press had to lead to a screen and did not: %s\n%s", what, strings.Join(p.story, "\n"))
		}
	}
	if made > 0 && form == nil {
		p.sum.withoutPage.Add(1)
	}
	if opened && made == 0 {
		p.sum.repeated.Add(1)
	}
	a.openedScreen = a.openedScreen || opened
}

// onlyHolder returns the browser online with the chat's key if it is the only one, or nil.
func (p *population) onlyHolder(c *popChat) *popBrowser {
	var only *popBrowser
	for _, b := range p.browsers {
		switch {
		case !b.online || c.key == "" || b.key != c.key:
		case only != nil:
			return nil
		default:
			only = b
		}
	}
	return only
}

func (p *population) browserOf(id string) *popBrowser {
	for _, b := range p.browsers {
		if b.id == id {
			return b
		}
	}
	return nil
}

// serves reports whether an agent serves a chat, as far as the bridge can know. If the chat
// service works, its answer counts. Otherwise the latest acknowledged event counts, or what the
// bridge read after it.
func (p *population) serves(agent int, c *popChat) bool {
	if c.outage == working {
		return c.present.Load().isServedBy(agent)
	}
	read := c.lastRead.Load()
	return c.acknowledged.isServedBy(agent) || read.isServedBy(agent) && read.serial > c.acknowledged.serial
}

// mustOpen reports whether a press must certainly lead to a screen.
func (p *population) mustOpen(agent int, c *popChat, f *popForm, fresh bool) bool {
	present := c.present.Load()
	if !present.isServedBy(agent) || c.acknowledged != present || time.Since(c.lastLink[agent].at) < repeatWindow && !c.lastLink[agent].at.IsZero() {
		return false
	}
	if f == nil {
		b := p.onlyHolder(c)
		return b != nil && (p.agents[agent].openedScreen || p.agents[agent].signedIn) && len(c.chosen) == 0 && c.lastLink[agent].visitor == b.id && c.pressedOnPage[b.id] == b.label
	}
	b := p.browserOf(f.id)
	return fresh && b != nil && b.online && b.label == f.label && (f.severalOffered || c.code != "" || p.onlyHolder(c) == b)
}

// checkLinks checks the watch links that a press made, and returns their number.
func (p *population) checkLinks(agent int, c *popChat, f *popForm) (made int) {
	all := p.wire.linksOf(p.agents[0].actor, p.agents[1].actor)
	for _, m := range all[p.checkedLinks:] {
		made++
		p.sum.links.Add(1)
		b := p.browserOf(m.visitor)
		p.byURL[m.url] = m
		switch {
		case m.agent != p.agents[agent].actor:
			p.fail("the watch link is for agent %s", m.agent)
		case b == nil:
			p.fail("a watch link of an unknown visitor")
		case !p.serves(agent, c):
			p.fail("a watch link of %s for %s, who does not serve the chat", b.label, p.agents[agent].name)
		case !b.online:
			p.fail("a watch link of %s, who is offline", b.label)
		case f != nil && (f.id != b.id || f.label != b.label):
			p.fail("a watch link of %s, but the press was for %s", b.label, f.label)
		case f != nil && (f.severalOffered || c.code != ""):
			// The agent chose this visitor, or pressed after a code.
		case f == nil && c.code != "" && c.pressedOnPage[b.id] != b.label:
			p.fail("a watch link of %s by a code, without the page", b.label)
		case f == nil && !c.shown[agent][b.label] && c.pressedOnPage[b.id] != b.label:
			p.fail("a watch link of %s, whom the agent has not seen", b.label)
		case c.key != "" && p.onlyHolder(c) != b && c.chosen[b.id] == "":
			p.fail("a watch link of %s, who is not the only match", b.label)
		}
		if last := c.lastLink[agent]; last.visitor == m.visitor && m.at.Sub(last.at) < repeatWindow {
			p.fail("a second watch link after %v", m.at.Sub(last.at))
		}
		c.lastLink[agent] = m
		if b == nil {
			continue
		}
		p.labels[m.url] = b.label
		if f != nil {
			c.pressedOnPage[b.id] = b.label
			if f.severalOffered {
				c.chosen[b.id] = b.label
			}
		}
	}
	p.checkedLinks = len(all)
	return made
}

// checkAnswer checks the answer to a press, and reports whether it leads to a screen.
func (p *population) checkAnswer(agent int, c *popChat, f *popForm, got *answer) (opened bool) {
	location := got.Header.Get("Location")
	if got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, "https://cobrowsingapi.com/session/") {
		return false
	}
	m, ok := p.byURL[location]
	switch {
	case !ok || m != c.lastLink[agent]:
		p.fail("the answer has the watch link of another press")
	case f != nil && (m.visitor != f.id || p.labels[location] != f.label):
		p.fail("the answer leads to %s, but the press was for %s", p.labels[location], f.label)
	case time.Since(m.at) > repeatWindow+slowest:
		p.fail("the answer has a watch link that was made %v ago", time.Since(m.at))
	}
	return true
}

// slowest is the longest time that a press waits for the chat service.
const slowest = 2500 * time.Millisecond

// linksOf returns the watch links of two agents.
func (t *wire) linksOf(agents ...string) (all []minted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.mints {
		if m.agent == agents[0] || m.agent == agents[1] {
			all = append(all, m)
		}
	}
	return all
}
