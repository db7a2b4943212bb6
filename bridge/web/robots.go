package web

import (
	"net/http"
	"slices"
	"strings"
)

// Robot reports whether the User-Agent is that of a program that fetches links by itself: a link
// preview, a mail or security scanner, a search engine. User-Agents can be forged, so a request
// for which Robot returns false need not come from a person.
//
// A program that sends only the name of its HTTP library, such as curl, does not count as a robot.
func Robot(r *http.Request) bool {
	agent := strings.ToLower(r.UserAgent())
	first := func(name string) bool { return strings.HasPrefix(agent, name) }
	return wordBot(agent) || containsRobot(agent) || slices.ContainsFunc(firstRobots, first) ||
		strings.Contains(agent, " rocket.chat/") && !strings.Contains(agent, "electron/") // Rocket.Chat's server, and not its desktop app
}

// containsRobot reports whether agent contains one of robots. It reads agent once.
func containsRobot(agent string) bool {
	for i := range len(agent) {
		for _, mark := range robotsByFirst[agent[i]] {
			if strings.HasPrefix(agent[i:], mark) {
				return true
			}
		}
	}
	return false
}

// robotsByFirst has robots by their first byte.
var robotsByFirst = func() (by [256][]string) {
	for _, mark := range robots {
		by[mark[0]] = append(by[mark[0]], mark)
	}
	return by
}()

// wordBot reports whether a word in agent, which is in lower case, ends in "bot" or "bots". "cubot"
// does not count: browsers on phones of that brand send it.
func wordBot(agent string) bool {
	for {
		before, after, found := strings.Cut(agent, "bot")
		if !found {
			return false
		}
		rest := strings.TrimPrefix(after, "s")
		if ends := rest == "" || rest[0] < 'a' || rest[0] > 'z'; ends && !strings.HasSuffix(before, "cu") {
			return true
		}
		agent = after
	}
}

// robots are texts, in lower case, that the User-Agents of robots contain and those of browsers do
// not. The tests use testdata/robots.txt, and testdata/browsers.txt with browsers and apps in which
// people read pages.
//
// A company's app and its robot often have the same name: people read pages in FBAN/FBIOS,
// Instagram, Line/14.0, Slack/4.4 and WhatsApp's desktop app. So a company's name is listed only in
// a form that its robot alone sends.
//
// Sources:
//
//	general texts         github.com/monperrus/crawler-user-agents, github.com/omrilotan/isbot
//	Slack                 api.slack.com/robots
//	Facebook, Messages    developers.facebook.com/docs/sharing/webmasters/web-crawlers;
//	                      Apple's Messages gives the names of Facebook's and Twitter's robots
//	Google                developers.google.com/search/docs/crawling-indexing/overview-google-crawlers
//	Bing, Teams           bing.com/webmasters/help/which-crawlers-does-bing-use-8c184ec0
//	Rocket.Chat           the setting API_Embed_UserAgent, with "Rocket.Chat/" and a version after it
//	Mattermost            httpservice, defaultUserAgent
//	Matrix                Synapse's URL previewer
//	Signal                linkPreviewFetch.ts, which sends "WhatsApp/2"
//	Nextcloud             lib/private/Http/Client/Client.php
var robots = []string{
	// The address of a page about the robot, in the usual forms.
	"+http", "+ http", "(http", "; http", ";http",
	// Words for what the robot is or does.
	"crawl", "spider", "slurp", "fetcher", "preview", "unfurl", "onebox", "validator", "archiver", "lighthouse",
	"imgproxy", "imageproxy", "linkcheck", "link check", "link resolver", "page speed", "urlscan", "url-scan",
	"safebrowsing", "safe browsing", "urllookup", "metadata",

	// Link previews.
	"facebookexternalhit", "facebookcatalog", "facebookplatform", "meta-external", "kakaotalk-scrap", "line-poker",
	"vkshare", "cardyb", "embedly", "iframely", "outbrain", "nextcloud server", "nextcloud-server",
	// Apps for Apple's systems that fetch without a browser. Pages that an app shows do not send
	// this.
	"cfnetwork/",

	// Scanners of mail and links.
	"barracuda", "proofpoint", "mimecast", "trend micro", "trendmicro", "symantec", "virustotal", "kaspersky lab", "clamav",
	"netcraft", "censys", "zgrab", "palo alto", "ips-agent", "twinwave", "acunetix",
	// Microsoft Office requests a link before it opens it in the browser.
	"existence discovery", "protocol discovery", "ms-office",

	// Search engines, feed readers and others without a general text.
	"apis-google", "mediapartners-google", "duplexweb-google", "appengine-google", "google-ad", "google-extended",
	"google-inspectiontool", "google-pagerenderer", "google-read-aloud", "google-safety", "google-site-verification",
	"google-structured", "googleother", "google favicon", "googleweblight", "yandeximages", "yandexmetrika",
	"yandexfavicons", "daumoa", "heritrix", "httrack", "w3c-", "w3c_", "feedly", "feedbin", "feedburner", "feedparser",
	"wordpress/", "mastodon/", "pingdom", "statuscake", "gtmetrix", "zabbix", "scrapy", "nutch", "larbin",
}

// firstRobots are texts at the start of a robot's User-Agent. Elsewhere in it they may mean an app.
var firstRobots = []string{"whatsapp", "viber"}
