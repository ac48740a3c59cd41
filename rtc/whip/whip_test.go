package whip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"anchord/internal/secret"
	"anchord/rtc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testOffer = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:ofrg\r\na=ice-pwd:opwdopwdopwdopwdopwdop\r\na=sendonly\r\na=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:ofrg\r\na=ice-pwd:opwdopwdopwdopwdopwdop\r\na=sendonly\r\n"

const testAnswer = "v=0\r\no=- 3 4 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=fingerprint:sha-256 AA:BB\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:sfrg\r\na=ice-pwd:spwdspwdspwdspwdspwdsp\r\na=recvonly\r\na=candidate:1 1 udp 1 127.0.0.1 6000 typ host\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:sfrg\r\na=ice-pwd:spwdspwdspwdspwdspwdsp\r\na=recvonly\r\n"

func newTest(t *testing.T, c Config) *Signaller {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func accept(w http.ResponseWriter, location string) {
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, testAnswer)
}

// seen is what a server saw, a line a request.
type seen struct {
	mu sync.Mutex
	l  []string
}

func (s *seen) add(r *http.Request, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.l = append(s.l, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("If-Match"), body)))
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.l...)
}

func TestSession(t *testing.T) {
	var log seen
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch r.Method {
		case http.MethodPost:
			log.add(r, "")
			if string(b) != testOffer || r.Header.Get("Content-Type") != "application/sdp" {
				t.Errorf("offer %q of type %s", b, r.Header.Get("Content-Type"))
			}
			w.Header().Set("ETag", `"e1"`)
			w.Header().Add("Link", `<stun:stun.example.net>; rel="ice-server", <turn:t.example.net?transport=udp>; rel="ice-server"; username="u,;\"x"; credential="c>"; credential-type="password"`)
			w.Header().Add("Link", `<http:evil>; rel="ice-server"`)
			accept(w, "session/1")
		case http.MethodPatch:
			log.add(r, strings.ReplaceAll(string(b), "\r\n", "|"))
			if r.Header.Get("Content-Type") != fragmentKind {
				t.Errorf("type %q", r.Header.Get("Content-Type"))
			}
			if r.Header.Get("If-Match") == "*" {
				w.Header().Set("ETag", `"e2"`)
				_, _ = io.WriteString(w, "a=ice-ufrag:new1\r\na=ice-pwd:npwdnpwdnpwdnpwdnpwdnp\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\na=candidate:2 1 udp 1 127.0.0.1 7000 typ host\r\n")
				return
			}
			w.WriteHeader(http.StatusNoContent)
		default:
			log.add(r, "")
		}
	})
	s := newTest(t, Config{URL: srv.URL + "/whip/101", Token: func(context.Context) (secret.Value, error) { return secret.New("tok\n"), nil }})
	c, err := s.Publish(t.Context(), testOffer)
	if err != nil {
		t.Fatal(err)
	}
	if c.Answer() != testAnswer {
		t.Errorf("answer %q", c.Answer())
	}
	if v := c.ICEServers(); len(v) != 2 || v[0].URLs[0] != "stun:stun.example.net" || v[1].Username != `u,;"x` || v[1].Credential.Reveal() != "c>" {
		t.Errorf("ICE servers %+v", v)
	}
	if c.Events() != nil {
		t.Error("there is no event stream")
	}
	if err := c.Trickle(t.Context(), []rtc.Candidate{{Value: "candidate:9 1 udp 1 10.0.0.1 9 typ host", Mid: "0"}}, true); err != nil {
		t.Error(err)
	}
	offer := strings.NewReplacer("ofrg", "ofr2", "opwd", "opw2").Replace(testOffer)
	answer, err := c.Restart(t.Context(), offer)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(answer, "a=ice-ufrag:new1\r\n") != 2 || strings.Contains(answer, "sfrg") || strings.Contains(answer, " 6000 ") ||
		!strings.Contains(answer, "a=candidate:2 1 udp 1 127.0.0.1 7000 typ host\r\n") || !strings.Contains(answer, "a=fingerprint:sha-256 AA:BB") {
		t.Errorf("answer after restart:\n%s", answer)
	}
	if err := c.Trickle(t.Context(), nil, true); err != nil {
		t.Error(err)
	}
	if err := c.Hangup(t.Context()); err != nil {
		t.Error(err)
	}
	want := []string{
		"POST /whip/101 Bearer tok",
		`PATCH /whip/session/1 Bearer tok "e1" a=ice-ufrag:ofrg|a=ice-pwd:opwdopwdopwdopwdopwdop|m=video 9 UDP/TLS/RTP/SAVPF 102|a=mid:0|a=candidate:9 1 udp 1 10.0.0.1 9 typ host|a=end-of-candidates|`,
		`PATCH /whip/session/1 Bearer tok * a=ice-ufrag:ofr2|a=ice-pwd:opw2opw2opw2opw2opw2op|m=video 9 UDP/TLS/RTP/SAVPF 102|a=mid:0|a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host|`,
		`PATCH /whip/session/1 Bearer tok "e2" a=ice-ufrag:ofr2|a=ice-pwd:opw2opw2opw2opw2opw2op|m=video 9 UDP/TLS/RTP/SAVPF 102|a=mid:0|a=end-of-candidates|`,
		"DELETE /whip/session/1 Bearer tok",
	}
	got := log.all()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("request %d of %d:\n%q", i, len(got), got)
		}
	}
}

func TestBadServers(t *testing.T) {
	status := func(code int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if k, v, ok := strings.Cut(header, ": "); ok {
				w.Header().Set(k, v)
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	created := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				return
			}
			w.Header().Set("Location", "/s")
			status(201, "Content-Type: application/sdp", body)(w, r)
		}
	}
	for name, c := range map[string]struct {
		h     http.HandlerFunc
		want  string
		final bool // is a final *rtc.Refused
	}{
		"400":          {status(400, "", "no bundle\n"), "the room refused (400): no bundle; the room does not understand the offer", true},
		"401 problem":  {status(401, "Content-Type: application/problem+json", `{"title":"who are you","detail":"no token"}`), "(401): who are you: no token; the token is missing", true},
		"403":          {status(403, "", ""), "(403): Forbidden; the token does not allow", true},
		"404 page":     {status(404, "Content-Type: text/html", "<html><body>gone"), "(404): a web page; there is no such room", true},
		"405":          {status(405, "Allow: GET", "Method Not Allowed"), "takes no WHIP", true},
		"406":          {status(406, "", ""), "(406): Not Acceptable", true},
		"409":          {status(409, "", "in use"), "(409): in use; somebody is in the room under this user id", false},
		"410":          {status(410, "", ""), "(410): Gone", true},
		"413":          {status(413, "", ""), "raise its limit", true},
		"415":          {status(415, "", ""), "takes or gives no SDP", true},
		"422":          {status(422, "", "codec"), "no codec in common", true},
		"429":          {status(429, "Retry-After: 7", ""), "asked too often", false},
		"500":          {status(500, "", "\x1b[2Joops\x00\n\u202ex"), "(500): [2Joops x; the server is in trouble", false},
		"503":          {status(503, "Retry-After: 3", ""), "(503): Service Unavailable", false},
		"504 nothing":  {status(504, "", strings.Repeat("y", 3000)), "(504): " + strings.Repeat("y", 256) + "; the server", false},
		"204":          {status(204, "", ""), "this is no WHIP server's answer", true},
		"302":          {status(302, "Location: /x", ""), "only redirects by 307 and 308", true},
		"no location":  {status(307, "", ""), "the server redirects: there is no Location", false},
		"bad location": {status(201, "Location: ftp://x/y", testAnswer), "the session's address: the Location is refused: its scheme is \"ftp\"", false},
		"userinfo":     {status(201, "Location: http://u:p@x/y", testAnswer), "it has a user or password in it", false},
		"file":         {status(307, "Location: file:///etc/passwd", ""), "its scheme is \"file\"", false},
		"empty":        {created(""), "the answer is empty", true},
		"html":         {status(201, "Content-Type: text/html; charset=x", "<html>login</html>"), "the answer is no SDP, it is text/html", true},
		"json":         {status(200, "Content-Type: application/json", "{}"), "the answer is no SDP, it is application/json", true},
		"broken":       {created("v=0\r\nm=x\r\n"), "the answer is broken SDP", true},
		"one section":  {created(testAnswer[:strings.Index(testAnswer, "m=audio")]), "1 media sections for the 2 offered", true},
		"swapped":      {created(strings.NewReplacer("m=video", "m=audio", "m=audio", "m=video").Replace(testAnswer)), "section 1 is not the offer's", true},
		"no codec":     {created(strings.NewReplacer("m=video 9", "m=video 0", "m=audio 9", "m=audio 0").Replace(testAnswer)), "no common codec: every media section was refused; allow H.264", true},
		"inactive":     {created(strings.ReplaceAll(testAnswer, "recvonly", "inactive")), "no common codec", true},
		"no ufrag":     {created(strings.ReplaceAll(testAnswer, "a=ice-ufrag:sfrg\r\n", "")), "the answer lacks a=ice-ufrag", true},
		"no print":     {created(strings.ReplaceAll(testAnswer, "a=fingerprint:sha-256 AA:BB\r\n", "")), "the answer lacks a=fingerprint", true},
		"huge":         {created("v=0\r\n" + strings.Repeat("a=x\r\n", 20000)), "the answer is longer than 65536 bytes", false},
		"half": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "9999")
			w.Header().Set("Location", "/s")
			w.WriteHeader(201)
			_, _ = io.WriteString(w, testAnswer)
		}, "the answer is cut off", false},
		"hang up": {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "EOF", false},
		"slow": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			"timeout awaiting response headers", false},
		"drip": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(201)
			_, _ = io.WriteString(w, "v=0\r\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "the answer did not end within", false},
		"no http": {func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			_, _ = io.WriteString(c, "SSH-2.0-x\r\n\r\n")
			_ = c.Close()
		}, "malformed HTTP", false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the client go
				c.h(w, r)
			})
			s := newTest(t, Config{URL: srv.URL + "/whip?secret=tell", AnswerTimeout: 200 * time.Millisecond})
			call, err := s.Publish(t.Context(), testOffer)
			if err == nil {
				_ = call.Hangup(t.Context())
				t.Fatal("no error")
			}
			var no *rtc.Refused
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "tell") || len(err.Error()) > 500 {
				t.Errorf("error %q, want %q", err, c.want)
			}
			if got := errors.As(err, &no) && no.Final; got != c.final {
				t.Errorf("final: %v", got)
			}
			if name == "429" && no.After != 7*time.Second {
				t.Errorf("after %v", no.After)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	s := newTest(t, Config{URL: "http://" + l.Addr().String() + "/whip?k=secret"})
	if _, err := s.Publish(t.Context(), testOffer); err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	for u, want := range map[string]string{
		"http://h/whip": "", "https://[::1]:8/x?y=1": "",
		"": "its scheme is", "whip+http://h/": "its scheme is", "http:///x": "names no host",
		"https://user:hunter2@h/": "use the token", "http://h:x:hunter2/": "it is no URL",
	} {
		s, err := New(Config{URL: u})
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%q: %v", u, err)
		case err == nil:
			s.Close()
		}
	}
}

func TestTokens(t *testing.T) {
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusUnauthorized) })
	for token, want := range map[string]string{"ok-canary": "(401)", "a\nb-canary": "one line of printable", "ü-canary": "one line of printable"} {
		s := newTest(t, Config{URL: srv.URL, Log: log, Token: func(context.Context) (secret.Value, error) { return secret.New(token), nil }})
		if _, err := s.Publish(t.Context(), testOffer); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", token, err)
		}
	}
	s := newTest(t, Config{URL: srv.URL, Log: log, Token: func(context.Context) (secret.Value, error) {
		return secret.Value{}, errors.New("read token file: gone")
	}})
	if _, err := s.Publish(t.Context(), testOffer); err == nil || !strings.Contains(err.Error(), "get a token for the room: read token file: gone") {
		t.Error(err)
	}
	if strings.Contains(out.String(), "canary") {
		t.Error("token in the log")
	}
}

var errDone = errors.New("it is done")

func judge(t *testing.T, what string, err, want, cannot error) {
	t.Helper()
	switch {
	case want == errDone && err != nil, want == nil && (err == nil || errors.Is(err, cannot)), want == cannot && !errors.Is(err, cannot):
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, " 0 ": 0, "-1": 0, "x": 0, "99999999": 24 * time.Hour, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if d := retryAfter(v, now); d != want {
			t.Errorf("%q: %v, want %v", v, d, want)
		}
	}
}
