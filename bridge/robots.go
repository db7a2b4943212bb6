package bridge

import (
	"net/http"
	"slices"
	"strings"
)

// robot reports whether a program that fetches links on its own made the request:
// a link preview, a mail or security scanner, a search engine. They name
// themselves in User-Agent, which can be forged. So a request that is not a
// robot's is not therefore a person's.
//
// A program that gives only the name of its HTTP library, such as curl, is not a
// robot here.
func robot(r *http.Request) bool {
	agent := strings.ToLower(r.UserAgent())
	within := func(mark string) bool { return strings.Contains(agent, mark) }
	first := func(name string) bool { return strings.HasPrefix(agent, name) }
	return wordBot(agent) || slices.ContainsFunc(robots, within) || slices.ContainsFunc(firstRobots, first) ||
		within(" rocket.chat/") && !within("electron/") // Rocket.Chat's server, and not its desktop app
}

// wordBot reports whether "bot" or "bots" ends a word of an agent in lower case.
// Cubot does not count: it makes phones, whose browsers name it.
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

// robots are what robots have in their User-Agent, in lower case, and browsers do
// not. testdata/robots.txt has robots that they must find, and
// testdata/browsers.txt browsers and apps in which people read pages.
//
// An app often has the name of the company whose link preview is a robot: people
// read pages in FBAN/FBIOS, Instagram, Line/14.0, Slack/4.4 and WhatsApp's
// desktop app. So a company's name is a mark only in the form that its robot
// alone uses.
//
// Sources:
//
//	general marks         github.com/monperrus/crawler-user-agents, github.com/omrilotan/isbot
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
	// What it is or does.
	"crawl", "spider", "slurp", "fetcher", "preview", "unfurl", "onebox", "validator", "archiver", "lighthouse",
	"imgproxy", "imageproxy", "linkcheck", "link check", "link resolver", "page speed", "urlscan", "url-scan",
	"safebrowsing", "safe browsing", "urllookup", "metadata",

	// Link previews.
	"facebookexternalhit", "facebookcatalog", "facebookplatform", "meta-external", "kakaotalk-scrap", "line-poker",
	"vkshare", "cardyb", "embedly", "iframely", "outbrain", "nextcloud server", "nextcloud-server",
	// Apps for Apple's systems that fetch without a browser. A page that is shown in
	// an app does not have this mark.
	"cfnetwork/",

	// Scanners of mail and links.
	"barracuda", "proofpoint", "mimecast", "trend micro", "trendmicro", "symantec", "virustotal", "kaspersky lab", "clamav",
	"netcraft", "censys", "zgrab", "palo alto", "ips-agent", "twinwave", "acunetix",
	// Microsoft Office asks before it hands a link to the browser.
	"existence discovery", "protocol discovery", "ms-office",

	// Search engines, readers and others without a general mark.
	"apis-google", "mediapartners-google", "duplexweb-google", "appengine-google", "google-ad", "google-extended",
	"google-inspectiontool", "google-pagerenderer", "google-read-aloud", "google-safety", "google-site-verification",
	"google-structured", "googleother", "google favicon", "googleweblight", "yandeximages", "yandexmetrika",
	"yandexfavicons", "daumoa", "heritrix", "httrack", "w3c-", "w3c_", "feedly", "feedbin", "feedburner", "feedparser",
	"wordpress/", "mastodon/", "pingdom", "statuscake", "gtmetrix", "zabbix", "scrapy", "nutch", "larbin",
}

// firstRobots begin the User-Agent of a robot. Elsewhere in it they may be an app.
var firstRobots = []string{"whatsapp", "viber"}
