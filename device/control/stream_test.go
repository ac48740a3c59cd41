package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"anchord/device"
	"anchord/internal/secret"
	"anchord/internal/trtc"
)

// hall is a server of events that can be ended as the daemon ends its own.
type hall struct {
	Parts
	*httptest.Server
	tokens *Tokens
	end    context.CancelFunc
	life   string
}

func newHall(t *testing.T) *hall {
	t.Helper()
	h := &hall{Parts: parts(), tokens: &Tokens{}}
	h.tokens.First(secret.New(token))
	r := h.Events.Listen(device.Filter{}, "")
	h.life, _, _ = strings.Cut(r.Mark(), "-")
	r.Close()
	mux := http.NewServeMux()
	(&HTTP{Table: Commands(h.Parts), Events: h.Events, Gate: &Gate{Auth: h.tokens}}).Register(mux)
	var ctx context.Context
	ctx, h.end = context.WithCancel(t.Context())
	h.Server = httptest.NewUnstartedServer(mux)
	h.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	h.Start()
	t.Cleanup(func() {
		h.end()
		h.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return h
}

// get asks for events.
func (h *hall) get(t *testing.T, query, last, bearer string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	q, err := http.NewRequestWithContext(ctx, "GET", h.URL+"/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+bearer)
	if last != "" {
		q.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// messages reads n messages of a stream, as "id event data" each.
func (h *hall) messages(t *testing.T, r *bufio.Reader, n int) []string {
	t.Helper()
	var out []string
	m := map[string]string{}
	for len(out) < n {
		l, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", out, err)
		}
		if l = strings.TrimSuffix(l, "\n"); l != "" {
			k, v, _ := strings.Cut(l, ": ")
			m[k] = v
			continue
		}
		s := strings.TrimSpace(fmt.Sprint(m["retry"], " ", m["id"], " ", m["event"], " ", m["data"]))
		if i := strings.Index(s, `"time":"`); i > 0 { // its length is known
			s = s[:i] + s[i+len(`"time":"2000-01-01T00:00:00.000Z",`):]
		}
		out = append(out, strings.ReplaceAll(s, h.life, "life"))
		m = map[string]string{}
	}
	return out
}

func (h *hall) enter(n int) {
	h.Events.Publish(trtc.OnEnterRoom, device.Detail{Key: "result", Value: n})
}

func TestStream(t *testing.T) {
	h := newHall(t)
	h.enter(1)
	res := h.get(t, "", "", token)
	if k := res.Header.Get("Content-Type"); res.StatusCode != 200 || k != "text/event-stream" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d, %v", res.StatusCode, res.Header)
	}
	r := bufio.NewReader(res.Body)
	begin := h.messages(t, r, 1)
	h.enter(2)
	h.Events.Publish(trtc.OnStatistics, device.Detail{Key: "rtt", Value: 1})
	h.Events.Publish(device.ConfigEvent, device.Detail{Key: "key", Value: "a\nb\r\ndata: c"})
	want := []string{"1000 life-1", `life-2 onEnterRoom {"event":"onEnterRoom","id":"life-2","fields":{"result":2}}`,
		`life-3 config {"event":"config","id":"life-3","fields":{"key":"a` + "\ufffdb\ufffd\ufffd" + `data: c"}}`}
	if d := cmp.Diff(want, append(begin, h.messages(t, r, 2)...)); d != "" {
		t.Error(d)
	}
	// The daemon ends, and so do its streams.
	h.end()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestStreamResumes(t *testing.T) {
	h := newHall(t)
	for i := range 300 { // the first 44 are not kept
		h.enter(i + 1)
	}
	e := func(n int) string {
		return fmt.Sprintf(`life-%d onEnterRoom {"event":"onEnterRoom","id":"life-%d","fields":{"result":%d}}`, n, n, n)
	}
	dropped := func(n int, why string) string {
		return fmt.Sprintf(`dropped {"event":"dropped","fields":{"n":%d,"why":"%s"}}`, n, why)
	}
	for _, c := range []struct {
		name, query, last string
		want              []string
	}{
		{"Last-Event-ID", "", h.life + "-298", []string{"1000 life-298", e(299), e(300)}},
		{"since", "?since=" + h.life + "-298", "", []string{"1000 life-298", e(299), e(300)}},
		{"a number", "?since=299", "", []string{"1000 life-299", e(300)}},
		{"a browser comes back to ?since", "?since=3", h.life + "-299", []string{"1000 life-299", e(300)}},
		{"the newest", "", h.life + "-300", []string{"1000 life-300"}},
		{"too old", "", h.life + "-40", []string{"1000 life-40", dropped(4, "old"), e(45)}},
		{"all", "?since=0", "", []string{"1000 life-0", dropped(44, "old"), e(45)}},
		{"another life", "", "zzzzzzzz-299", []string{"1000 life-0", dropped(44, "restart"), e(45)}},
		{"from the future", "", h.life + "-301", []string{"1000 life-0", dropped(44, "restart"), e(45)}},
		{"rubbish in the header", "", "<script>", []string{"1000 life-0", dropped(44, "restart"), e(45)}},
		{"names", "?since=298&names=health,ONENTER*", "", []string{"1000 life-298", e(299), e(300)}},
		{"other names", "?since=0&names=health", "", []string{"1000 life-0", dropped(44, "old")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := h.get(t, c.query, c.last, token)
			defer res.Body.Close()
			if d := cmp.Diff(c.want, h.messages(t, bufio.NewReader(res.Body), len(c.want))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestStreamRefuses(t *testing.T) {
	h := newHall(t)
	for _, c := range []struct {
		query, bearer string
		status        int
		want          string
	}{
		{"?names=nothing", token, 400, `no event is named \"nothing\"`},
		{"?since=x", token, 400, "the id of an event"},
		{"?since=99999999999999999999", token, 400, "the id of an event"},
		{"?since=1&since=2", token, 400, "since is given twice"},
		{"?names=%zz", token, 400, "the query cannot be read"},
		{"?filter=x", token, 400, `no parameter is named \"filter\": names, since`},
		{"?names=" + url.QueryEscape(strings.Repeat("x", 5000)), token, 400, "no event is named"},
		{"", "wrong", 401, "a bearer token is needed"},
	} {
		res := h.get(t, c.query, "", c.bearer)
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != c.status || !strings.Contains(string(b), c.want) {
			t.Errorf("%.40s: %d %s, %v", c.query, res.StatusCode, b, err)
		}
	}
	q, err := http.NewRequestWithContext(t.Context(), "HEAD", h.URL+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	if res, err := http.DefaultClient.Do(q); err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %v, %v", res, err)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	h := newHall(t)
	var first *http.Response
	for range maxStreams {
		if res := h.get(t, "", "", token); res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		} else if first == nil {
			first = res
		}
	}
	res := h.get(t, "", "", token)
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(string(b), "clients listen to events already") {
		t.Errorf("%d %s, %v", res.StatusCode, b, err)
	}
	first.Body.Close()
	for end := time.Now().Add(5 * time.Second); ; {
		res := h.get(t, "", "", token)
		if res.StatusCode == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a place is never free again")
		}
		res.Body.Close()
	}
}

type keepsNothing struct{}

func (keepsNothing) Save(map[string]string) error { return nil }
func (keepsNothing) Delete(...string) error       { return nil }

func TestAStreamEndsWithItsToken(t *testing.T) {
	h := newHall(t)
	h.tokens.Restore(nil, keepsNothing{})
	made, err := h.tokens.Create("screen", Read, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(h.get(t, "", "", made.Text.Reveal()).Body)
	h.messages(t, r, 1)
	if err := h.tokens.Revoke("screen"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || len(b) != 0 {
		t.Errorf("%q, %v", b, err)
	}
}

// quietly is a response that notes what is written, and that breaks when it is told to.
type quietly struct {
	httptest.ResponseRecorder
	broken bool
}

func (q *quietly) Write(b []byte) (int, error) {
	if q.broken {
		return 0, io.ErrClosedPipe
	}
	return q.ResponseRecorder.Body.Write(b)
}

func TestStreamBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := device.NewEvents()
		f, err := device.ParseFilter("health")
		if err != nil {
			t.Fatal(err)
		}
		reader := e.Listen(f, "")
		defer reader.Close()
		life, _, _ := strings.Cut(reader.Mark(), "-")
		w := &quietly{ResponseRecorder: *httptest.NewRecorder()}
		ctx, cancel := context.WithTimeout(t.Context(), 2*beatEvery+time.Second)
		defer cancel()
		time.AfterFunc(beatEvery+time.Second, func() { e.Publish(trtc.OnConnectionLost) }) // held back, and known all the same
		follow(w, httptest.NewRequestWithContext(ctx, "GET", "/v1/events", nil), reader)
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Error("it ended too early")
		}
		if got := strings.ReplaceAll(w.Body.String(), life, "life"); got != "retry: 1000\nid: life-0\n\n: here\nid: life-0\n\n: here\nid: life-1\n\n" {
			t.Errorf("%q", got)
		}
		// A client that went away is noticed with the next thing that is sent.
		w.broken = true
		begun := time.Now()
		follow(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/events", nil), reader)
		if time.Since(begun) != 0 {
			t.Errorf("after %v", time.Since(begun))
		}
	})
}

func FuzzStream(f *testing.F) {
	for _, s := range [][2]string{{"", ""}, {"names=health&since=3", "aaaaaaaa-1"}, {"names=%00", "\x00"}, {"since=-1&since=2", "1-2-3"}, {"names=o*,on*;x", "é"}} {
		f.Add(s[0], s[1])
	}
	p := parts()
	for range 20 {
		p.Events.Publish(trtc.OnConnectionLost)
	}
	serve := (&HTTP{Events: p.Events}).stream()
	f.Fuzz(func(t *testing.T, query, last string) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // the stream ends when it has said what it has
		q := &http.Request{Method: "GET", URL: &url.URL{Path: "/v1/events", RawQuery: query}, Header: http.Header{"Last-Event-Id": {last}}}
		w := httptest.NewRecorder()
		serve(w, q.WithContext(ctx))
		body := w.Body.String()
		switch {
		case w.Code == 400 && strings.HasPrefix(body, `{"ok":false,"error":{"code":10`):
		case w.Code == 200 && strings.HasPrefix(body, "retry: 1000\nid: ") && strings.HasSuffix(body, "\n\n"):
			for l := range strings.Lines(body) {
				if k, _, ok := strings.Cut(l, ":"); l != "\n" && (!ok || k != "id" && k != "event" && k != "data" && k != "retry") {
					t.Errorf("%q, %q: %q", query, last, l)
				}
			}
		default:
			t.Errorf("%q, %q: %d %q", query, last, w.Code, body)
		}
	})
}
