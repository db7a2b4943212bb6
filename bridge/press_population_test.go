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

// BRIDGE_TEST_SEED is the seed of all populations, or random; a failure prints it, and
// BRIDGE_TEST_POPULATION, by the number that it prints, runs the populations of those two
// agents alone.
const (
	seedVariable       = "BRIDGE_TEST_SEED"
	populationVariable = "BRIDGE_TEST_POPULATION"
)

const (
	// batch is how many populations share a world at once, so that its time passes for all
	// of them.
	batch = 200
	// generations is how many populations the same two agents have one after the other. The
	// customers are others each time, and what is open of the chats goes on.
	generations = 6
)

// howManyPopulations is what BRIDGE_TEST_POPULATIONS says, or 300: ten thousand take a minute.
func howManyPopulations(t *testing.T) int {
	given := os.Getenv("BRIDGE_TEST_POPULATIONS")
	if given == "" {
		return 300
	}
	n, err := strconv.Atoi(given)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Whatever customers and agents do, nobody sees a screen that they should not. A population
// is a few customers at Upscope, a few chats and two agents. They come and go, become others
// and hand over, while the chat service works or does not; and the agents press. An oracle
// that knows all of it judges each watch link.
func TestPromise7NoWrongScreenInRandomPopulations(t *testing.T) {
	t.Parallel()
	seed, populations, only := uint64(1), howManyPopulations(t), -1
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
			t.Logf("to have it again: %s=%d", seedVariable, seed)
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

// runBatch runs populations beside each other in one world. In one world of five agents sign
// in.
func runBatch(t *testing.T, seed uint64, first, n, only int, sum *tally) {
	lines := newWire()
	quiet := slog.New(slog.DiscardHandler) // each population tells its own story
	opts := []options{{
		transport:  lines.transport(0),
		config:     func(c *bridge.Config) { c.Log = quiet },
		rocketchat: func(c *rocketchat.Config) { c.Log = quiet },
	}}
	var o *office
	if first/batch%5 == 1 {
		o = newOffice(t, "")
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
		defer w.log.drop()
		if o != nil {
			o.world = w
		}
		var chats sync.Map
		lines.read = func(room string) {
			if c, ok := chats.Load(room); ok {
				c.(*popChat).read.Store(c.(*popChat).truth.Load())
			}
		}
		var running sync.WaitGroup
		for i := first; i < first+n; i++ {
			if only >= 0 && i != only {
				continue
			}
			p := &population{
				world: w, wire: lines, number: i, chatsByRoom: &chats, sum: sum,
				random: mathrand.New(mathrand.NewPCG(seed, uint64(i))),
			}
			for a, name := range agentNames(i) {
				agent := &popAgent{name: name, id: fmt.Sprintf("id-%s", name), actor: fmt.Sprintf("rocketchat:id-%s", name), browser: w.browser()}
				w.chat.AddUser(rocketchattest.User{ID: agent.id, Username: name, Name: name, Email: name + "@example.org", Roles: []string{"user", "livechat-agent"}})
				if o != nil {
					agent.browser, agent.actor, agent.signedIn = o.at(name), "oidc:login.example.org/"+name, true
				}
				p.agents[a] = agent
			}
			running.Go(p.run)
		}
		running.Wait()
	})
}

// fileInMemory is an empty store where writing costs no time, if the system has such a
// place: how safely things are stored is not tested here.
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

// drop forgets the log.
func (l *logBuffer) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// A tally counts what came of presses.
type tally struct {
	populations, presses, links, due, kept, straight, repeated, wrong atomic.Int64
}

func (s *tally) String() string {
	return fmt.Sprintf("%d populations, %d presses, %d links (%d without a page, %d repeated), %d of %d that were due; %d wrong",
		s.populations.Load(), s.presses.Load(), s.links.Load(), s.straight.Load(), s.repeated.Load(), s.kept.Load(), s.due.Load(), s.wrong.Load())
}

// check makes sure that nothing was right only because nothing happened.
func (s *tally) check(t *testing.T) {
	presses, due, kept := s.presses.Load(), s.due.Load(), s.kept.Load()
	if s.links.Load() < presses/8 || due < presses/25 || kept < due*97/100 || s.straight.Load() == 0 || s.repeated.Load() == 0 {
		t.Errorf("too few presses led anywhere: %s", s)
	}
}

// A population is what the oracle knows.
type population struct {
	*world
	wire        *wire
	number      int
	random      *mathrand.Rand
	agents      [2]*popAgent
	browsers    []*popBrowser
	chats       []*popChat
	chatsByRoom *sync.Map
	sum         *tally
	serial      int
	links       int // how many watch links its agents had when it looked last
	byURL       map[string]minted
	labels      map[string]string // of those links' visitors at that time, by URL
	story       []string
}

type popAgent struct {
	name, id, actor string
	signedIn        bool
	browser         *browser
	led             bool // to any screen before, after which link mode remembers the browser
}

// A popBrowser is a customer's browser as Upscope knows it. Label is a name that changes
// whenever the browser is somebody else's, so that a page says whom it shows.
type popBrowser struct {
	id, label, key, unique, code string
	online                       bool
}

// A popChat is a chat. Agents are numbers; nobody is -1.
type popChat struct {
	number        int
	room          string
	key, code     string
	truth         atomic.Pointer[turn] // as the chat service knows it
	read          atomic.Pointer[turn] // as the bridge read it last
	acknowledged  *turn                // the latest of which the bridge acknowledged an event
	late          []popEvent
	outage        outage
	shown         [2]map[string]bool // labels that the last page or card showed, by agent
	forms         [2][]popForm       // of pages, by agent
	chosen        map[string]string  // labels by short id, of whom an agent chose among several
	pressedOnPage map[string]string  // and of whom one pressed for on any page
	last          [2]minted          // link, by agent
}

// A turn is who serves a chat, from one change to the next.
type turn struct {
	serial int
	open   bool
	agent  int
}

func (t *turn) of(agent int) bool { return t != nil && t.open && t.agent == agent }

type popEvent struct {
	turn   *turn
	kind   string
	body   []byte
	header http.Header
}

// A popForm is a button of a page: whom it named, and whether there was a choice.
type popForm struct {
	value, id, label string
	many             bool
}

func (p *population) tell(format string, args ...any) {
	p.story = append(p.story, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

func (p *population) wrongly(format string, args ...any) {
	p.sum.wrong.Add(1)
	p.Errorf("population %d: %s\n%s", p.number, fmt.Sprintf(format, args...), strings.Join(p.story, "\n"))
}

// chance is true in so many of a hundred cases.
func (p *population) chance(percent int) bool { return p.random.IntN(100) < percent }

func pick[T any](p *population, of ...T) T { return of[p.random.IntN(len(of))] }

func (p *population) run() {
	p.byURL, p.labels = map[string]minted{}, map[string]string{}
	time.Sleep(time.Duration(p.random.IntN(2000)) * time.Millisecond)
	for range generations {
		p.sum.populations.Add(1)
		p.begin()
		for range 2 + p.random.IntN(2) {
			p.round()
			time.Sleep(pick(p, 0, 0, 200*time.Millisecond, time.Second, 3100*time.Millisecond, 5*time.Second))
		}
	}
	for _, c := range p.chats { // so that nobody works on it any more
		p.wire.fail(c.room, working)
	}
}

// begin has other customers come, and chats begin in the place of those that are over.
func (p *population) begin() {
	for _, b := range p.browsers {
		p.upscope.Expire(b.id)
		p.tell("%s is forgotten", b.label)
	}
	p.browsers = nil
	going := p.chats
	p.chats = nil
	for _, c := range going {
		if c.truth.Load().open || p.chance(20) {
			p.chats = append(p.chats, c)
			if c.key != "" {
				p.comes(c.key, "")
			}
		}
	}
	fresh := len(p.chats) == 0
	if fresh {
		p.begins()
	}
	if p.chance(20) && len(p.chats) < 2 {
		p.begins()
		fresh = true
	}
	if p.chance(50) {
		p.comes(fmt.Sprintf("key-%d-else-0123456789", p.number), "")
	}
	if fresh {
		time.Sleep(1500 * time.Millisecond) // for the cards
	}
}

// begins opens a chat.
func (p *population) begins() {
	p.serial++
	c := &popChat{number: p.serial, chosen: map[string]string{}, pressedOnPage: map[string]string{}}
	for a := range p.agents {
		c.shown[a] = map[string]bool{}
	}
	fields := map[string]string{}
	if p.number%10 == 0 && p.serial == 1 { // few: wrong ones count against all chats together
		c.code = fmt.Sprintf("%04d", p.number*7%10_000)
		b := p.comes("", c.code)
		if p.chance(10) {
			b.online = false
			p.put(b)
		}
		if p.chance(20) {
			p.comes("", c.code) // collides
		}
		fields["upscope_code"] = c.code
	} else {
		c.key = fmt.Sprintf("key-%d-%d-0123456789", p.number, c.number)
		p.comes(c.key, "")
		if p.chance(15) {
			p.comes(c.key, "") // a twin
		}
		if p.chance(95) {
			fields["upscope_key"] = c.key
		}
	}
	c.room = p.opens(fields)
	p.chatsByRoom.Store(c.room, c)
	p.chats = append(p.chats, c)
	p.changes(c, "LivechatSessionTaken", true, p.random.IntN(10)/8, func(name string) { p.chat.Take(c.room, name) })
	p.sends(c, 0)
}

// comes has a customer come online.
func (p *population) comes(key, code string) *popBrowser {
	b := &popBrowser{key: key, code: code, online: true}
	b.id = p.upscope.Come(upscope.Visitor{})
	if p.chance(40) {
		b.unique = p.person()
	}
	p.browsers = append(p.browsers, b)
	p.renew(b)
	p.tell("%s comes: key %q, code %q, unique %q", b.label, b.key, b.code, b.unique)
	return b
}

func (p *population) person() string {
	p.serial++
	return fmt.Sprintf("cust-%d-%d", p.number, p.serial)
}

// renew gives a browser that is somebody else's now another label.
func (p *population) renew(b *popBrowser) {
	p.serial++
	b.label = fmt.Sprintf("Person%dx%d.", p.number, p.serial)
	p.put(b)
}

// put has Upscope know a browser as it is.
func (p *population) put(b *popBrowser) {
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

// changes has the turn of a chat end, and the event about it wait to be sent.
func (p *population) changes(c *popChat, kind string, open bool, agent int, change func(name string)) {
	serial := 1
	if before := c.truth.Load(); before != nil {
		serial = before.serial + 1
	}
	name := ""
	if agent >= 0 {
		name = p.agents[agent].name
	}
	change(name)
	now := &turn{serial, open, agent}
	c.truth.Store(now)
	body, header := p.chat.Event(kind, c.room)
	c.late = append(c.late, popEvent{now, kind, body, header})
	p.tell("chat %d: %s, served by %s", c.number, kind, cmp.Or(name, "nobody"))
}

// sends delivers one of the events that wait.
func (p *population) sends(c *popChat, n int) {
	if n >= len(c.late) {
		return
	}
	e := c.late[n]
	c.late = append(c.late[:n:n], c.late[n+1:]...)
	if got := p.post("/hooks/rocketchat", e.body, e.header); got.StatusCode != http.StatusOK {
		p.wrongly("%s was answered %d", e.kind, got.StatusCode)
		return
	}
	if c.acknowledged == nil || c.acknowledged.serial < e.turn.serial {
		c.acknowledged = e.turn
	}
	p.tell("chat %d: %s is acknowledged", c.number, e.kind)
}

// round is a while in which agents look, customers and chats change, and agents press.
func (p *population) round() {
	if p.chance(45) {
		p.looks(p.random.IntN(2), pick(p, p.chats...))
	}
	for range p.random.IntN(3) {
		if p.chance(60) {
			p.changesCustomer()
		} else {
			p.changesChat(pick(p, p.chats...))
		}
		time.Sleep(pick(p, 0, 0, 0, 100*time.Millisecond, 4*time.Second))
	}
	for range 1 + p.random.IntN(5)/3 {
		c := pick(p, p.chats...)
		agent := max(0, c.truth.Load().agent)
		if p.chance(15) {
			agent = 1 - agent
		}
		p.presses(agent, c)
	}
}

func (p *population) changesCustomer() {
	if len(p.browsers) == 0 {
		return
	}
	b := pick(p, p.browsers...)
	if p.chance(50) {
		b = p.browsers[0]
	}
	switch n := p.random.IntN(100); {
	case n < 12 && b.key != "": // a second tab, or a browser that was copied
		p.comes(b.key, "")
	case n < 30:
		b.online = !b.online
		p.put(b)
		p.tell("%s is online: %v", b.label, b.online)
	case n < 45: // signs in as somebody
		was := b.label
		b.unique = p.person()
		p.renew(b)
		p.tell("%s becomes %s", was, b.label)
	case n < 55 && b.key != "": // somebody else at the same computer
		was := b.label
		b.key = fmt.Sprintf("key-%d-other%d-0123456789", p.number, p.random.IntN(1000))
		p.renew(b)
		p.tell("%s becomes %s with key %q", was, b.label, b.key)
	case n < 75: // resets, and says who they are, or not
		b.online = false
		p.put(b)
		fresh := &popBrowser{online: true, key: b.key}
		if p.chance(20) {
			fresh.key = ""
		}
		if p.chance(50) {
			fresh.unique = b.unique
		}
		fresh.id = p.upscope.Reset(b.id)
		p.browsers = append(p.browsers, fresh)
		p.renew(fresh)
		p.tell("%s goes on as %s with key %q", b.label, fresh.label, fresh.key)
	case n < 85:
		if code := pick(p, p.chats...).code; code != "" {
			for _, other := range p.browsers { // the code is another's from now on
				if other.code == code && p.chance(80) {
					other.code = ""
					p.put(other)
					p.tell("%s has no code", other.label)
				}
			}
			p.comes("", code)
		}
	default:
		p.upscope.ChangePage(b.id, "https://shop.example.org/checkout")
	}
}

func (p *population) changesChat(c *popChat) {
	now := c.truth.Load()
	switch n := p.random.IntN(100); {
	case n < 35:
		c.outage = pick(p, working, working, broken, broken, slow)
		p.wire.fail(c.room, c.outage)
		p.tell("chat %d: outage %d", c.number, c.outage)
		return
	case n < 45:
		if len(c.late) > 0 {
			p.sends(c, p.random.IntN(len(c.late)))
		}
		return
	case !now.open:
		return
	case n < 75:
		p.changes(c, "LivechatSessionForwarded", true, 1-max(0, now.agent), func(name string) { p.chat.Forward(c.room, name) })
	case n < 83:
		p.changes(c, "LivechatSessionQueued", true, -1, func(string) { p.chat.Queue(c.room) })
	case n < 88:
		p.changes(c, "LivechatSessionTaken", true, p.random.IntN(2), func(name string) { p.chat.Take(c.room, name) })
	default:
		p.changes(c, "LivechatSession", false, -1, func(string) { p.chat.CloseChat(c.room) })
	}
	switch latest := len(c.late) - 1; {
	case p.chance(60):
		p.sends(c, latest)
	case p.chance(50): // lost
		p.tell("chat %d: the event is lost", c.number)
		c.late = c.late[:latest]
	}
}

// door is the link in the agent's latest message about the chat, and the label in it.
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

// looks has an agent open the page of a card.
func (p *population) looks(agent int, c *popChat) {
	door, _ := p.door(agent, c)
	if door == "" {
		return
	}
	p.sees(agent, c, p.agents[agent].browser.send(lookRequest(door)), "looks", nil)
}

// sees has an agent read a page, which may answer a press. Of whom the agent chose among
// several, and who is somebody else by now, the page asks once more: that is still a choice.
func (p *population) sees(agent int, c *popChat, page *answer, how string, pressed *popForm) {
	if page.StatusCode != http.StatusOK {
		p.tell("chat %d: %s %s: %d", c.number, p.agents[agent].name, how, page.StatusCode)
		return
	}
	c.shown[agent] = map[string]bool{}
	forms := formsOn(page)
	for i, f := range forms {
		c.shown[agent][f.label] = true
		if pressed != nil && pressed.many && pressed.id == f.id {
			forms[i].many = true
		}
	}
	c.forms[agent] = append(c.forms[agent], forms...)
	p.tell("chat %d: %s %s: %+v", c.number, p.agents[agent].name, how, forms)
}

// formsOn is what the agent can press on a page. Of a page for one visitor the label that
// comes last is the visitor's: one before may be who it was.
func formsOn(page *answer) (forms []popForm) {
	all := choicesOn(page)
	for id, value := range all {
		f := popForm{value: value, id: id, many: len(all) > 1}
		if f.many {
			_, after, _ := strings.Cut(page.body, `value="`+value+`"`)
			f.label = labelForm.FindString(after)
		} else if labels := labelForm.FindAllString(page.body, -1); labels != nil {
			f.label = labels[len(labels)-1]
		}
		forms = append(forms, f)
	}
	return forms
}

// presses has an agent press, in one of several ways.
func (p *population) presses(agent int, c *popChat) {
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
			p.looks(agent, c)
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
	due := p.due(agent, c, form, fresh)
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
		p.tell("chat %d: %s pressed %s: %d", c.number, a.name, what, got.StatusCode)
	}
	made := p.judge(agent, c, form)
	led := false
	for _, got := range answers {
		led = p.judgeAnswer(agent, c, form, got) || led
	}
	for _, got := range answers {
		if got.StatusCode == http.StatusOK {
			p.sees(agent, c, got, "is shown", form)
			break
		}
	}
	if due {
		p.sum.due.Add(1)
		if led {
			p.sum.kept.Add(1)
		} else if os.Getenv(populationVariable) != "" {
			p.Logf("not led on, but due: %s\n%s", what, strings.Join(p.story, "\n"))
		}
	}
	if made > 0 && form == nil {
		p.sum.straight.Add(1)
	}
	if led && made == 0 {
		p.sum.repeated.Add(1)
	}
	a.led = a.led || led
}

// holder is the only browser online that has the chat's key.
func (p *population) holder(c *popChat) *popBrowser {
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

// serves reports whether an agent has a chat as far as the bridge can know: as the chat
// service says, or while it says nothing, as the latest event says that was acknowledged,
// or what was read after that.
func (p *population) serves(agent int, c *popChat) bool {
	if c.outage == working {
		return c.truth.Load().of(agent)
	}
	read := c.read.Load()
	return c.acknowledged.of(agent) || read.of(agent) && read.serial > c.acknowledged.serial
}

// due reports whether a press must lead to a screen, as far as that is certain.
func (p *population) due(agent int, c *popChat, f *popForm, fresh bool) bool {
	truth := c.truth.Load()
	if !truth.of(agent) || c.acknowledged != truth || time.Since(c.last[agent].at) < once && !c.last[agent].at.IsZero() {
		return false
	}
	if f == nil {
		b := p.holder(c)
		return b != nil && (p.agents[agent].led || p.agents[agent].signedIn) && len(c.chosen) == 0 && c.last[agent].visitor == b.id && c.pressedOnPage[b.id] == b.label
	}
	b := p.browserOf(f.id)
	return fresh && b != nil && b.online && b.label == f.label && (f.many || c.code != "" || p.holder(c) == b)
}

// judge looks at the links that a press made, and returns how many there are.
func (p *population) judge(agent int, c *popChat, f *popForm) (made int) {
	all := p.wire.linksOf(p.agents[0].actor, p.agents[1].actor)
	for _, m := range all[p.links:] {
		made++
		p.sum.links.Add(1)
		b := p.browserOf(m.visitor)
		p.byURL[m.url] = m
		switch {
		case m.agent != p.agents[agent].actor:
			p.wrongly("the link is for %s", m.agent)
		case b == nil:
			p.wrongly("a screen of nobody here")
		case !p.serves(agent, c):
			p.wrongly("%s of %s, who does not have the chat", b.label, p.agents[agent].name)
		case !b.online:
			p.wrongly("%s, who is gone", b.label)
		case f != nil && (f.id != b.id || f.label != b.label):
			p.wrongly("%s, but %s was pressed for", b.label, f.label)
		case f != nil && (f.many || c.code != ""):
			// The agent chose who it is.
		case f == nil && c.code != "" && c.pressedOnPage[b.id] != b.label:
			p.wrongly("%s by a code, without a page", b.label)
		case f == nil && !c.shown[agent][b.label] && c.pressedOnPage[b.id] != b.label:
			p.wrongly("%s, whom the agent has not seen", b.label)
		case c.key != "" && p.holder(c) != b && c.chosen[b.id] == "":
			p.wrongly("%s, who is not the only one with the key", b.label)
		}
		if last := c.last[agent]; last.visitor == m.visitor && m.at.Sub(last.at) < once {
			p.wrongly("a second link after %v", m.at.Sub(last.at))
		}
		c.last[agent] = m
		if b == nil {
			continue
		}
		p.labels[m.url] = b.label
		if f != nil {
			c.pressedOnPage[b.id] = b.label
			if f.many {
				c.chosen[b.id] = b.label
			}
		}
	}
	p.links = len(all)
	return made
}

// judgeAnswer looks at where a press leads, and reports whether that is a screen.
func (p *population) judgeAnswer(agent int, c *popChat, f *popForm, got *answer) (led bool) {
	location := got.Header.Get("Location")
	if got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, "https://cobrowsingapi.com/session/") {
		return false
	}
	m, ok := p.byURL[location]
	switch {
	case !ok || m != c.last[agent]:
		p.wrongly("the answer leads to a link of another press")
	case f != nil && (m.visitor != f.id || p.labels[location] != f.label):
		p.wrongly("the answer leads to %s, but %s was pressed for", p.labels[location], f.label)
	case time.Since(m.at) > once+slowest:
		p.wrongly("the answer leads to a link of %v ago", time.Since(m.at))
	}
	return true
}

// slowest is how long a press waits for the chat service at most.
const slowest = 2500 * time.Millisecond

// linksOf are the watch links of these agents.
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
