package whip

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"anchord/internal/secret"
)

func TestRedirects(t *testing.T) {
	var log seen
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		log.add(r, fmt.Sprint(len(b) == len(testOffer)))
		accept(w, "/s/1")
	})
	// The same machine under another name is another host.
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		log.add(r, fmt.Sprint(len(b) == len(testOffer)))
		switch r.URL.Path {
		case "/a":
			http.Redirect(w, r, "/b", http.StatusTemporaryRedirect)
		case "/b":
			w.Header().Set("Location", elsewhere+"/c")
			w.WriteHeader(http.StatusPermanentRedirect)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusTemporaryRedirect)
		default:
			http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
		}
	})
	token := func(context.Context) (secret.Value, error) { return secret.New("T"), nil }
	s := newTest(t, Config{URL: srv.URL + "/a", Token: token})
	c, err := s.Publish(t.Context(), testOffer)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hangup(t.Context()); err != nil {
		t.Error(err)
	}
	want := "POST /a Bearer T  true\nPOST /b Bearer T  true\nPOST /c   true\nDELETE /s/1   false"
	if got := strings.Join(log.all(), "\n"); got != want {
		t.Errorf("requests:\n%s\nwant\n%s", got, want)
	}
	for path, want := range map[string]string{"/loop": "in a circle", "/many": "more than 5 times"} {
		s := newTest(t, Config{URL: srv.URL + path})
		if _, err := s.Publish(t.Context(), testOffer); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestNoWayFromHTTPSToHTTPNorInwards(t *testing.T) {
	base, err := url.Parse("https://room.example/whip")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"http://room.example/s":   "it leads from https to http",
		"javascript:alert(1)":     "its scheme",
		"//host/s":                "https://host/s",
		"/s?x=1#frag":             "https://room.example/s?x=1",
		"s":                       "https://room.example/s",
		"https://":                "it names no host",
		"":                        "there is no Location",
		"https://a:b@c/":          "user or password",
		"\x7f":                    "no URL",
		strings.Repeat("x", 5000): "too long",
	} {
		u, err := locate(base, in)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = u.String()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	var w walls
	w.trust(base)
	for _, c := range []struct {
		host, at string
		ok       bool
	}{
		{"room.example:443", "8.8.8.8:443", true},
		{"evil.example:80", "127.0.0.1:80", false},
		{"evil.example:80", "[::1]:80", false},
		{"evil.example:80", "[::ffff:127.0.0.1]:80", false},
		{"evil.example:80", "169.254.169.254:80", false},
		{"evil.example:80", "10.1.2.3:80", false},
		{"other.example:80", "9.9.9.9:80", true},
		{"room.example:443", "192.168.1.2:443", true}, // the operator's own word
		{"other.example:80", "10.1.2.3:80", true},     // no further inside than that
		{"other.example:80", "127.0.0.1:80", false},
	} {
		if err := w.control(c.host)("tcp", c.at, nil); (err == nil) != c.ok {
			t.Errorf("%s at %s: %v", c.host, c.at, err)
		}
	}
}
