package page

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, target string, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

func TestHandler(t *testing.T) {
	for _, c := range []struct {
		method, target string
		status         int
		kind           string
	}{
		{"GET", "/rooms/101", 200, "text/html; charset=utf-8"},
		{"GET", "/rooms/ward%20%2F3", 200, "text/html; charset=utf-8"},
		{"GET", "/rooms/assets", 200, "text/html; charset=utf-8"}, // a room may be called that
		{"HEAD", "/rooms/101", 200, "text/html; charset=utf-8"},
		{"GET", "/rooms/101?muted=1", 200, "text/html; charset=utf-8"},
		{"GET", "/rooms/assets/viewer.css", 200, "text/css; charset=utf-8"},
		{"GET", "/rooms/assets/viewer.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/rooms/assets/icon.svg", 200, "image/svg+xml"},
		{"GET", "/rooms/assets/viewer.html", 404, "text/plain; charset=utf-8"}, // its addresses would be wrong there
		{"GET", "/rooms/assets/page.go", 404, "text/plain; charset=utf-8"},
		{"GET", "/rooms/assets/..%2Fpage.go", 404, "text/plain; charset=utf-8"},
		{"GET", "/rooms/", 404, "text/plain; charset=utf-8"},
		{"GET", "/rooms/101/else", 404, "text/plain; charset=utf-8"},
		{"GET", "/rooms/101/a/b", 404, "text/plain; charset=utf-8"},
		{"POST", "/rooms/101", 405, "text/plain; charset=utf-8"},
		{"DELETE", "/rooms/assets/viewer.js", 405, "text/plain; charset=utf-8"},
	} {
		t.Run(c.method+" "+c.target, func(t *testing.T) {
			res, body := get(t, c.method, c.target)
			if res.StatusCode != c.status {
				t.Errorf("status %d, want %d", res.StatusCode, c.status)
			}
			if got := res.Header.Get("Content-Type"); got != c.kind {
				t.Errorf("Content-Type %q, want %q", got, c.kind)
			}
			if c.method == "GET" && body == "" {
				t.Error("no body")
			}
			for name, want := range map[string]string{
				"Content-Security-Policy": policy,
				"X-Content-Type-Options":  "nosniff",
				"Referrer-Policy":         "no-referrer",
			} {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestSlashAfterTheRoomIsTakenAway(t *testing.T) {
	res, _ := get(t, "GET", "/rooms/a%2Fb/?lang=zh")
	if got := res.Header.Get("Location"); res.StatusCode != 308 || got != "../a%2Fb?lang=zh" {
		t.Errorf("%d to %q, want 308 to ../a%%2Fb?lang=zh", res.StatusCode, got)
	}
}

func TestBrowserAsksEachTimeAndGetsNothingTwice(t *testing.T) {
	for _, target := range []string{"/rooms/101", "/rooms/assets/watch.js"} {
		res, _ := get(t, "GET", target)
		etag := res.Header.Get("ETag")
		if etag == "" || res.Header.Get("Cache-Control") != "no-cache" {
			t.Fatalf("%s: ETag %q, Cache-Control %q", target, etag, res.Header.Get("Cache-Control"))
		}
		again, body := get(t, "GET", target, "If-None-Match", etag)
		if again.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("%s: %d with %d bytes, want 304 with none", target, again.StatusCode, len(body))
		}
		changed, _ := get(t, "GET", target, "If-None-Match", `"other"`)
		if changed.StatusCode != http.StatusOK {
			t.Errorf("%s: %d for another ETag, want 200", target, changed.StatusCode)
		}
	}
}

// A television on a slow link loads the page, and nothing of it comes from elsewhere or would be refused by its policy.
func TestFilesAreSmallAndKeepThePolicy(t *testing.T) {
	total := 0
	foreign := regexp.MustCompile(`(?i)(src|href|url\(|import|from)\s*[=( ]\s*["']?(https?:)?//`)
	inline := regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+="|<style|<script(?:[^>]*)>[^<]|javascript:|\.innerHTML|\beval\(|setAttribute\('style'`)
	for name, f := range read() {
		total += len(f.body)
		if f.kind == "" {
			t.Errorf("%s has no Content-Type", name)
		}
		if m := foreign.Find(f.body); m != nil {
			t.Errorf("%s loads from elsewhere: %s", name, m)
		}
		if m := inline.Find(f.body); m != nil {
			t.Errorf("%s has what the policy refuses: %s", name, m)
		}
	}
	if total > 60_000 {
		t.Errorf("the page is %d bytes, want at most 60000", total)
	}
}

// What the page and its modules ask for is there.
func TestEveryFileThatIsAskedForIsServed(t *testing.T) {
	asked := regexp.MustCompile(`(?:"assets/|from '\./)([a-z.]+)["']`)
	used := map[string]bool{"viewer.html": true}
	for _, f := range read() {
		for _, m := range asked.FindAllStringSubmatch(string(f.body), -1) {
			used[m[1]] = true
			if res, _ := get(t, "GET", "/rooms/assets/"+m[1]); res.StatusCode != http.StatusOK {
				t.Errorf("%s is asked for and answered with %d", m[1], res.StatusCode)
			}
		}
	}
	for name := range read() {
		if !used[name] {
			t.Errorf("%s is served and never asked for", name)
		}
	}
}

// Each sentence exists in both languages.
func TestWordsAreComplete(t *testing.T) {
	text := string(read()["words.js"].body)
	en, zh, ok := strings.Cut(text, "const zh = {")
	if !ok {
		t.Fatal("words.js has no Chinese part")
	}
	key := regexp.MustCompile(`(?m)(?:^\s+|, )([a-zA-Z]+): (?:'|"|\(|\{|[a-z]\b)`)
	names := func(s string) map[string]bool {
		set := map[string]bool{}
		for _, m := range key.FindAllStringSubmatch(s, -1) {
			set[m[1]] = true
		}
		return set
	}
	a, b := names(en), names(strings.SplitN(zh, "\n};", 2)[0])
	if len(a) < 40 {
		t.Fatalf("found only %d sentences", len(a))
	}
	for n := range a {
		if !b[n] {
			t.Errorf("%s is missing in Chinese", n)
		}
	}
	for n := range b {
		if !a[n] {
			t.Errorf("%s is missing in English", n)
		}
	}
}
