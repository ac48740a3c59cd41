package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"anchord/internal/secret"
)

const token = "0123456789abcdef0123456789abcdef"

func handler() http.Handler {
	mux := http.NewServeMux()
	var tokens Tokens
	tokens.First(secret.New(token))
	p := parts()
	h := HTTP{Table: Commands(p), Events: p.Events, Gate: &Gate{Auth: &tokens}, Snapshot: func(r *http.Request) ([]byte, error) {
		if r.URL.RawQuery == "fail" {
			return nil, context.DeadlineExceeded
		}
		return []byte("\xff\xd8"), nil
	}}
	h.Register(mux)
	return Local(mux)
}

func TestHTTP(t *testing.T) {
	h := handler()
	long := `{"cmd":"` + strings.Repeat(" ", maxBody) + `"}`
	for _, c := range []struct {
		name, method, path, body string
		header                   map[string]string // added to a good request's; "" takes away
		status                   int
		want                     string // within the body
	}{
		{name: "healthz needs no token", path: "/healthz", header: map[string]string{"Authorization": ""}, status: 200, want: "ok\n"},
		{name: "status", path: "/v1/status", status: 200, want: `{"ok":true,"result":{"room":"none wanted","ready":true,"z":1,"a":2}}`},
		{name: "command", method: "POST", body: `{"id":7,"cmd":"version"}`, status: 200, want: `{"id":7,"ok":true,"result":{"version":"1.2.3"}}`},
		{name: "charset", method: "POST", body: `{"cmd":"version"}`, header: map[string]string{"Content-Type": "application/json; charset=utf-8"}, status: 200, want: `"ok":true`},
		{name: "snapshot", path: "/v1/snapshot.jpg", status: 200, want: "\xff\xd8"},
		{name: "no snapshot", path: "/v1/snapshot.jpg?fail", status: 503, want: `"code":112`},

		{name: "no token", path: "/v1/status", header: map[string]string{"Authorization": ""}, status: 401, want: `"code":120`},
		{name: "no token for commands", method: "POST", body: `{"cmd":"version"}`, header: map[string]string{"Authorization": ""}, status: 401, want: `"code":120`},
		{name: "no token for snapshots", path: "/v1/snapshot.jpg", header: map[string]string{"Authorization": ""}, status: 401, want: `"code":120`},
		{name: "the scheme's case does not matter", path: "/v1/status", header: map[string]string{"Authorization": "bearer  " + token}, status: 200, want: `"ok":true`},
		{name: "wrong token", path: "/v1/status", header: map[string]string{"Authorization": "Bearer " + token + "0"}, status: 401, want: `"code":120`},
		{name: "empty token", path: "/v1/status", header: map[string]string{"Authorization": "Bearer "}, status: 401, want: `"code":120`},
		{name: "another scheme", path: "/v1/status", header: map[string]string{"Authorization": "Basic " + token}, status: 401, want: `"code":120`},

		{name: "another name", path: "/healthz", header: map[string]string{"Host": "evil.example"}, status: 421, want: "127.0.0.1 or localhost"},
		{name: "another address", path: "/healthz", header: map[string]string{"Host": "192.0.2.1:8080"}, status: 421, want: "127.0.0.1 or localhost"},
		{name: "localhost", path: "/healthz", header: map[string]string{"Host": "localhost:8080"}, status: 200, want: "ok"},
		{name: "LOCALHOST", path: "/healthz", header: map[string]string{"Host": "LOCALHOST"}, status: 200, want: "ok"},
		{name: "IPv6", path: "/healthz", header: map[string]string{"Host": "[::1]:8080"}, status: 200, want: "ok"},
		{name: "IPv6 without a port", path: "/healthz", header: map[string]string{"Host": "[::1]"}, status: 200, want: "ok"},
		{name: "another site's page", method: "POST", body: `{"cmd":"version"}`, header: map[string]string{"Sec-Fetch-Site": "cross-site"}, status: 403},
		{name: "another origin", method: "POST", body: `{"cmd":"version"}`, header: map[string]string{"Origin": "http://evil.example"}, status: 403},
		{name: "the own origin", method: "POST", body: `{"cmd":"version"}`, header: map[string]string{"Origin": "http://127.0.0.1:8080"}, status: 200, want: `"ok":true`},

		{name: "wrong method", method: "GET", path: "/v1/command", status: 405},
		{name: "wrong method of status", method: "POST", path: "/v1/status", status: 405},
		{name: "unknown path", path: "/v1/nothing", status: 404},
		{name: "no type", method: "POST", body: `{}`, header: map[string]string{"Content-Type": ""}, status: 415, want: "application/json"},
		{name: "wrong type", method: "POST", body: `{}`, header: map[string]string{"Content-Type": "text/plain"}, status: 415, want: "application/json"},
		{name: "too long", method: "POST", body: long, status: 413, want: `"code":103`},
		{name: "no body", method: "POST", status: 400, want: `"code":100`},
		{name: "not JSON", method: "POST", body: "version", status: 400, want: `"code":100`},
		{name: "unknown command", method: "POST", body: `{"cmd":"nothing"}`, status: 404, want: `"code":101`},
		{name: "bad argument", method: "POST", body: `{"cmd":"video fps","args":{"fps":0}}`, status: 400, want: `"code":102`},
		{name: "bad state", method: "POST", body: `{"cmd":"snapshot quality=3"}`, status: 409, want: `"code":110`},
		{name: "not there", method: "POST", body: `{"cmd":"snapshot quality=2"}`, status: 404, want: `"code":111`},
		{name: "too late", method: "POST", body: `{"cmd":"snapshot quality=1"}`, status: 504, want: `"code":112`},
		{name: "a fault", method: "POST", body: `{"cmd":"snapshot quality=4"}`, status: 500, want: `"code":500`},
		{name: "an engine's code", method: "POST", body: `{"cmd":"room enter id=0 user=a"}`, status: 409, want: `"code":-33`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.path == "" {
				c.path = "/v1/command"
			}
			r := httptest.NewRequest(c.method, "http://127.0.0.1:8080"+c.path, strings.NewReader(c.body))
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Content-Type", "application/json")
			for k, v := range c.header {
				switch {
				case k == "Host":
					r.Host = v
				case v == "":
					r.Header.Del(k)
				default:
					r.Header.Set(k, v)
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if strings.HasPrefix(w.Body.String(), "{") {
				if w.Header().Get("Content-Type") != "application/json" || !json.Valid(w.Body.Bytes()) {
					t.Errorf("%v %s", w.Header(), w.Body)
				}
			}
			if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") || strings.Contains(w.Body.String(), token) {
				t.Errorf("%v %s", w.Header(), w.Body)
			}
		})
	}
}

type torn struct{}

func (torn) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestHTTPBodyEndsEarly(t *testing.T) {
	r := httptest.NewRequest("POST", "http://localhost/v1/command", torn{})
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	handler().ServeHTTP(w, r)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "ends too early") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestHTTPWithoutATokenAnswersNobody(t *testing.T) {
	mux := http.NewServeMux()
	h := HTTP{Table: Commands(parts())}
	h.Register(mux)
	r := httptest.NewRequest("GET", "/v1/status", nil)
	r.Header.Set("Authorization", "Bearer ")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if w.Code != 401 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestFirstToken(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "new", "http.token")
	made, err := FirstToken(name)
	if err != nil || made.Len() < 32 {
		t.Fatalf("%d bytes, %v", made.Len(), err)
	}
	if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if again, err := FirstToken(name); err != nil || !again.Equal(made) {
		t.Errorf("read again: the same is %v, %v", again.Equal(made), err)
	}
	if other, err := FirstToken(filepath.Join(dir, "other")); err != nil || other.Equal(made) {
		t.Errorf("another file has the same token, or %v", err)
	}
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"group", token, 0o640, "can be read or written by others"},
		{"world", token, 0o604, "can be read or written by others"},
		{"writable", token, 0o620, "can be read or written by others"},
		{"two lines", token + "\n" + token, 0o600, "something else than a token"},
		{"binary", token + "\x1b[31m", 0o600, "something else than a token"},
		{"huge", strings.Repeat(token, 1000), 0o600, "something else than a token"},
		{"short", "abc\n", 0o600, "less than 32 characters"},
		{"empty", "", 0o600, "less than 32 characters"},
	} {
		name := filepath.Join(dir, c.name)
		if err := errors.Join(os.WriteFile(name, []byte(c.content), 0o600), os.Chmod(name, c.mode)); err != nil {
			t.Fatal(err)
		}
		b, err := FirstToken(name)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) || !b.IsZero() || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", c.name, err)
		}
		if after, err := os.ReadFile(name); err != nil || string(after) != c.content {
			t.Errorf("%s: the file was changed: %v", c.name, err)
		}
	}
	for _, name := range []string{dir, filepath.Join(dir, "short", "x")} {
		if b, err := FirstToken(name); err == nil {
			t.Errorf("%s: %d bytes", name, b.Len())
		}
	}
}

// TestTokenFileTricks puts into the token's place what somebody else could.
func TestTokenFileTricks(t *testing.T) {
	dir := t.TempDir()
	fifo, good, link, dangling, target := filepath.Join(dir, "fifo"), filepath.Join(dir, "good"), filepath.Join(dir, "link"), filepath.Join(dir, "dangling"), filepath.Join(dir, "target")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.WriteFile(good, []byte(token+"\n"), 0o600), os.Symlink(good, link), os.Symlink(target, dangling)); err != nil {
		t.Fatal(err)
	}
	// Nobody writes to the FIFO: it must not be waited for.
	if _, err := FirstToken(fifo); err == nil || !strings.Contains(err.Error(), "not an ordinary file") {
		t.Errorf("FIFO: %v", err)
	}
	if b, err := FirstToken(link); err != nil || b.Reveal() != token {
		t.Errorf("link: %v", err)
	}
	// A link that leads nowhere is replaced: nothing is made where it leads.
	if b, err := FirstToken(dangling); err != nil || b.Len() < leastToken {
		t.Errorf("dangling link: %v", err)
	}
	if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link's target: %v", err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(good, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := FirstToken(good); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
			t.Errorf("another user's: %v", err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".token-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// client gives clients that reach the same box by the socket and by HTTP.
func clients(t *testing.T) map[string]*Client {
	path := filepath.Join(t.TempDir(), "control.sock")
	stop := listen(t, path)
	server := httptest.NewServer(handler())
	t.Cleanup(func() {
		stop()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return map[string]*Client{"socket": {Socket: path}, "HTTP": {URL: server.URL + "/", Token: secret.New(token)}}
}

func TestClient(t *testing.T) {
	for name, c := range clients(t) {
		for _, q := range []struct {
			words []string
			want  string
			code  int
		}{
			{words: []string{"status"}, want: "room: none wanted\nready: yes\nz: 1\na: 2\n"},
			{words: []string{"video", "show"}, want: "wanted.size: 640x360\nwanted.fps: 15\nnames: a\nnames: b\n"},
			{words: []string{"stats"}, want: "frames: 1099511627776\nshare: 0.3333\n"},
			{words: []string{"camera", "select", "HD \"Pro\" = best, any"}, want: ""},
			{words: []string{"camera", "select", `match=HD "Pro" = best, any`}, want: "unchanged: yes\n"},
			{words: []string{"help", "video fps"}, want: "video fps: Frames a second.\nusage: video fps fps=1…60\n  fps: the camera's nearest is taken; 1 to 60 pictures a second\nexample: video fps 30\nlevel: operate\n"},
			{words: []string{"room enter"}, code: CodeArgument}, // found, though it is one word
			{words: []string{"room"}, code: CodeUnknown},
			{words: []string{"camera", "select", "a\nb"}, code: CodeSyntax},
			{words: []string{"camera", "select", ""}, code: CodeArgument},
			{words: []string{"nothing"}, code: CodeUnknown},
			{words: []string{"snapshot", "quality=3"}, code: CodeState},
		} {
			a, err := c.Do(t.Context(), q.words)
			if err != nil {
				t.Fatalf("%s: %q: %v", name, q.words, err)
			}
			code := 0
			if a.Error != nil {
				code = a.Error.Code
			}
			if d := cmp.Diff(q.want, a.Text()); d != "" || code != q.code {
				t.Errorf("%s: %q: code %d, want %d\n%s", name, q.words, code, q.code, d)
			}
		}
		if a, err := c.Do(t.Context(), []string{"camera", "list"}); err != nil || !strings.Contains(a.Text(), "camera.1.name: The \ufffd[31mred\ufffd one\n") {
			t.Errorf("%s: %v", name, err)
		}
		if a, err := c.Do(t.Context(), []string{"version"}); err != nil || a.Word("version") != "1.2.3" || a.Word("other") != "" || !json.Valid(a.Raw) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestClientWithoutADaemon(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>hello") }))
	defer page.Close()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		c    Client
		want string
	}{
		{"no socket", t.Context(), Client{Socket: filepath.Join(t.TempDir(), "none")}, "it does not run, or its socket is elsewhere"},
		{"no server", t.Context(), Client{URL: "http://127.0.0.1:1"}, "ask the daemon"},
		{"not a URL", t.Context(), Client{URL: "::"}, "ask ::"},
		{"another server", t.Context(), Client{URL: page.URL}, "not a daemon's answer"},
		{"no time", gone, Client{URL: page.URL}, "context canceled"},
	} {
		a, err := c.c.Do(c.ctx, []string{"version"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v", c.name, a, err)
		}
	}
}

func FuzzAnswerText(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"b":{"c":[1,"x",{"d":null}]}}`, `[`, `{"a":[]}`, `null`, `{"a":true}{`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a := Answer{Result: b}
		a.Word("a")
		for _, l := range strings.Split(strings.TrimSuffix(a.Text(), "\n"), "\n") {
			if l != "" && !strings.Contains(l, ": ") {
				t.Fatalf("%q: %q", b, l)
			}
		}
	})
}
