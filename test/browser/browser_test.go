package browser

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anchord/rtc/room/page"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// room is the viewer page with an event stream that says what the test wants and no media at all.
type room struct {
	said   string // the first events
	status int    // of the event stream, unless 0
}

func (r room) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/rooms/101/events", func(w http.ResponseWriter, req *http.Request) {
		if r.status != 0 {
			http.Error(w, "no", r.status)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, r.said)
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
	})
	mux.HandleFunc("/whep/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "nobody", http.StatusNotFound) })
	mux.Handle("/rooms/", page.Handler())
	return mux
}

// serve serves r until stop is called, at an address of its choice or at the given one.
func serve(t *testing.T, at string, r room) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: r.handler()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	return l.Addr().String(), func() { _ = s.Close(); <-done }
}

func snapshot(anchors string) string {
	return "event: snapshot\ndata: {\"room\":\"101\",\"anchors\":[" + anchors + "],\"viewers\":2}\n\n"
}

// TestStates shows the page in each state that needs no media, on three sizes of screen, with its own content policy:
// right words, no fault on the console, nothing wider than the screen, every button with a name and large enough.
func TestStates(t *testing.T) {
	lost := fmt.Sprintf(`{"user":"cart-7","audio":true,"video":true,"state":"lost","since":%d}`, time.Now().Add(-90*time.Minute).UnixMilli())
	for _, c := range []struct {
		name, state string
		room        room
		args        []string
		words       string
	}{
		{"empty", "empty", room{said: snapshot("")}, nil, "Nobody is in room 101 yet."},
		{"empty in Chinese", "empty", room{said: snapshot("")}, []string{"--lang", "zh-CN"}, "房间 101 里还没有人。"},
		{"lost", "lost", room{said: snapshot(lost)}, nil, "Connection to cart-7 lost 1 h ago, waiting for it to return"},
		{"opening", "opening", room{said: snapshot("") + "event: join\ndata: {\"user\":\"cart-7\"}\n\n"}, []string{"--light"}, "Connecting to cart-7…"},
		{"not allowed", "page:refused", room{status: 401}, nil, "You may not watch this room."},
		{"bad address", "page:bad", room{status: 400}, nil, "There is no room at this address."},
		{"left", "empty", room{said: snapshot(lost) + "event: leave\ndata: {\"user\":\"cart-7\",\"reason\":\"exit\"}\n\n"}, nil, "Nobody is in room 101 yet."},
		{"dissolved", "page:closed", room{said: snapshot(lost) + "event: dissolve\ndata: {\"reason\":\"dissolved\"}\n\n"}, nil, "This room was closed."},
		{"nonsense is borne", "empty", room{said: "event: join\ndata: {\n\nevent: constructor\ndata: {}\n\nevent: state\ndata: {\"user\":5}\n\nevent: video\ndata: null\n\ndata: [1]\n\n: x\n\n" + snapshot(`null,5,{"user":7}`)}, nil, "Nobody is in room 101 yet."},
	} {
		t.Run(c.name, func(t *testing.T) {
			address, stop := serve(t, "127.0.0.1:0", c.room)
			defer stop()
			var got struct {
				Shots []struct {
					Size  string
					Words []string
				}
			}
			args := append([]string{"--url", "http://" + address + "/rooms/101", "--state", c.state, "--timeout", "60"}, c.args...)
			if err := Run(t.Context(), nil, &got, "page.mjs", args...); err != nil {
				t.Fatal(err)
			}
			if len(got.Shots) != 3 {
				t.Fatalf("%d screens, want 3", len(got.Shots))
			}
			for _, s := range got.Shots {
				if len(s.Words) != 1 || s.Words[0] != c.words {
					t.Errorf("%s shows %q, want %q", s.Size, s.Words, c.words)
				}
			}
		})
	}
}

// The server goes away and comes back: the page says so, keeps who was there, and finds it again within a second.
func TestServerComesBack(t *testing.T) {
	lost := `{"user":"cart-7","audio":true,"video":true,"state":"lost","since":0}`
	address, stop := serve(t, "127.0.0.1:0", room{said: snapshot(lost)})
	var gone, back int64
	end := func() {}
	s, err := Follow(t.Context(), "http://"+address+"/rooms/101", 8, func() {
		gone = time.Now().UnixMilli()
		stop()
		time.Sleep(2 * time.Second) // as long as the outage is meant to last
		_, end = serve(t, address, room{said: snapshot("")})
		back = time.Now().UnixMilli()
	}, "--first", "0")
	defer end()
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, l := range s.Link {
		words = append(words, l.Link)
	}
	if got := strings.Join(words, " "); got != "connecting open lost open" && got != "open lost open" {
		t.Fatalf("the page's connection went %q", got)
	}
	n := len(s.Link)
	if ms := s.Link[n-2].T - gone; ms > 1000 {
		t.Errorf("the loss was said after %d ms", ms)
	}
	if ms := s.Link[n-1].T - back; ms > 1000 {
		t.Errorf("the server was found again after %d ms, want at most 1000", ms)
	}
	if last := s.Tiles[len(s.Tiles)-1]; last.User != "cart-7" || last.State != "lost" {
		t.Errorf("cart-7 is %q after a server came back that does not know it yet, want lost", last.State)
	}
}

// What the programs themselves say when something is wrong.
func TestFaultsAreTold(t *testing.T) {
	address, stop := serve(t, "127.0.0.1:0", room{said: snapshot("")})
	defer stop()
	_, err := Watch(t.Context(), "http://"+address+"/rooms/101", 1, "--timeout", "2")
	if !errors.Is(err, ErrNotOK) || !strings.Contains(err.Error(), "Timeout") {
		t.Errorf("watching an empty room: %v", err)
	}
	err = Run(t.Context(), nil, nil, "watch.mjs", "--nonsense", "1")
	if err == nil || !strings.Contains(err.Error(), "unknown argument --nonsense") {
		t.Errorf("an unknown argument: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := Watch(ctx, "http://"+address+"/rooms/101", 60, "--timeout", "60"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a watch whose context ended: %v", err)
	}
}

func TestSignal(t *testing.T) {
	dir, err := install(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "node", "--test", filepath.Join(dir, "signal.test.mjs")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
