package templates

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
)

func TestEveryFileAPageLoadsIsServed(t *testing.T) {
	srv := http.StripPrefix("/static/", http.FileServerFS(Static()))
	types := map[string]string{".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".js": "text/javascript; charset=utf-8"}
	loaded := make(map[string]bool)
	for _, p := range samplePages() {
		parsed(t, p).Find("link[href], img[src], script[src]").Each(func(_ int, s *goquery.Selection) {
			loaded[s.AttrOr("href", s.AttrOr("src", ""))] = true
		})
	}
	for address := range loaded {
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, httptest.NewRequest("GET", address, nil))
		if w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("%s: status %d, %d bytes", address, w.Code, w.Body.Len())
		}
		if got, want := w.Header().Get("Content-Type"), types[address[strings.LastIndexByte(address, '.'):]]; got != want {
			t.Errorf("%s: Content-Type %q, want %q", address, got, want)
		}
	}
	if len(loaded) != len(served) {
		t.Errorf("pages load %d files, %d are served", len(loaded), len(served))
	}
}

func TestNothingElseIsServed(t *testing.T) {
	srv := http.StripPrefix("/static/", http.FileServerFS(Static()))
	for _, address := range []string{
		"/static/", "/static/.", "/static/style.css", "/static/icon.svg", "/static/style.0000000000000000.css",
		"/static/static/style.css", "/static/../templates.go", "/static/html/door.html",
	} {
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, httptest.NewRequest("GET", address, nil))
		if w.Code == http.StatusOK {
			t.Errorf("%s: status %d", address, w.Code)
		}
	}
	if _, err := fs.ReadDir(Static(), "."); err == nil {
		t.Error("the files can be listed")
	}
}

func TestFilesNeedNothingFromOutside(t *testing.T) {
	outside := regexp.MustCompile(`url\(|@import|//|<script|<style|style=|href=|\son\w+=`)
	for name := range served {
		content, err := fs.ReadFile(Static(), name)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(content), `xmlns="http://www.w3.org/2000/svg"`, "")
		if found := outside.FindString(text); found != "" {
			t.Errorf("%s has %q", name, found)
		}
	}
}

func TestAnAssetThatIsNotThereFailsThePage(t *testing.T) {
	if _, err := asset("no.css"); err == nil {
		t.Error("asset found")
	}
}
