package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"anchord/device"
	"anchord/internal/trtc"
)

// withSay gives the table with a command that makes things happen.
func withSay(p Parts) Table {
	return append(Commands(p), Command{Name: "say", Help: "x.", Level: Read, Args: []Arg{{Name: "what", Kind: Word, Help: "x"}},
		Run: func(_ context.Context, a Args) (Fields, error) {
			switch a.Word("what") {
			case "enter":
				p.Events.Publish(trtc.OnEnterRoom, device.Detail{Key: "result", Value: 340})
			case "lost":
				p.Events.Publish(trtc.OnConnectionLost)
			case "odd":
				p.Events.Publish(device.HealthEvent, device.Detail{Key: "cause", Value: "it says \"no\"\x1b[2J\u009b\n= bad"}, device.Detail{Key: "do", Value: ""})
			case "numbers":
				p.Events.Publish(device.JobEvent, device.Detail{Key: "id", Value: uint64(1) << 40}, device.Detail{Key: "done", Value: true}, device.Detail{Key: "share", Value: 1.0 / 3})
			case "ill":
				p.Health.Report("camera", device.Fact{Slug: device.CameraDenied, Cause: "open camera /dev/video0: permission denied"}, device.Fact{Slug: device.CameraSmall, Cause: "640x360"})
				p.Health.Note(device.Fact{Slug: device.StoreCorrupt, Cause: "it is no database", Do: "buy another card"})
				time.Sleep(5 * time.Second)
				p.Health.Tick()
				p.Health.Note(device.Fact{Slug: device.StoreCorrupt, Cause: "it is no database"})
				p.Health.Note(device.Fact{Slug: device.RoomGaveUp, Cause: "no answer"})
				p.Health.Note(device.Fact{Slug: device.RoomGaveUp, Cause: "no answer"})
			case "well":
				p.Health.Report("camera")
			}
			return Fields{{"said", a.Word("what")}}, nil
		}})
}

// TestEventTranscripts plays the files in testdata/events, as TestTranscripts does, in a time
// of their own. Which life of the daemon it is stands there as "life".
func TestEventTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/events/*.txt")
	if err != nil || len(files) != 3 {
		t.Fatalf("transcripts: %v, %v", files, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				was := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
				p := parts()
				played := &transcript{was: was}
				if err := withSay(p).talk(t.Context(), root, played, &played.out); err != nil {
					t.Fatal(err)
				}
				r := p.Events.Listen(device.Filter{}, "")
				life, _, _ := strings.Cut(r.Mark(), "-")
				r.Close()
				now := strings.ReplaceAll(strings.Join(played.now, "\n")+"\n", life, "life")
				if os.Getenv("UPDATE") != "" {
					if err := os.WriteFile(name, []byte(now), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if d := cmp.Diff(string(b), now); d != "" {
					t.Errorf("answers (-want +got):\n%s", d)
				}
			})
		})
	}
}

// onSocket runs a socket with a table that has say, and connects.
func onSocket(t *testing.T, p Parts) (net.Conn, *bufio.Reader) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	s := Socket{Path: path, Table: withSay(p), Log: quiet, Ready: func() { close(ready) }}
	var wg sync.WaitGroup
	wg.Go(func() { ended <- s.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-ready
	return dial(t, path)
}

// TestEventsNeverSplitAnAnswer has many things happen while a client asks: between an
// answer's first line and its last there is no event, and each line is whole.
func TestEventsNeverSplitAnAnswer(t *testing.T) {
	p := parts()
	c, r := onSocket(t, p)
	fmt.Fprintln(c, "events on")
	var wg sync.WaitGroup
	stop := make(chan struct{})
	defer wg.Wait()
	defer close(stop)
	for range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				p.Events.Publish(device.JobEvent, device.Detail{Key: "id", Value: i}, device.Detail{Key: "message", Value: strings.Repeat("x y ", i%100)})
			}
		})
	}
	heard, next := 0, 0
	const asked = 300
	go func() {
		for range asked {
			io.WriteString(c, "@q stats\n{\"id\":7,\"cmd\":\"version\"}\n")
		}
	}()
	inside := false
	for next < 2*asked {
		l, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(l, "*e "):
			if inside {
				t.Fatalf("within an answer: %s", l)
			}
			if ws, err := split(strings.TrimSuffix(l, "\n")); err != nil || ws[1].value != "job" && ws[1].value != "dropped" {
				t.Fatalf("%q: %v", l, err)
			}
			heard++
		case strings.HasPrefix(l, "@q "):
			inside = l != "@q OK\n"
			if !inside {
				next++
			}
		case l == "{\"id\":7,\"ok\":true,\"result\":{\"version\":\"1.2.3\"}}\n":
			next++
		case l == "OK\n" && heard == 0 || strings.HasPrefix(l, "events: ") || strings.HasPrefix(l, "last: "):
		default:
			t.Fatalf("%q", l)
		}
	}
	if heard < 10 {
		t.Errorf("%d events", heard)
	}
}

// TestSlowClientLosesEvents: a client that reads nothing holds nobody up, is not thrown out
// at once, and is told what it lost.
func TestSlowClientLosesEvents(t *testing.T) {
	p := parts()
	c, r := onSocket(t, p)
	fmt.Fprintln(c, "events on")
	for range 3 {
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	const all = 20000 // far more than fits into the socket and the mailbox
	long := strings.Repeat("x", 500)
	begun := time.Now()
	for i := range all {
		p.Events.Publish(device.JobEvent, device.Detail{Key: "id", Value: i}, device.Detail{Key: "message", Value: long})
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("publishing took %v", d)
	}
	heard, lost := 0, 0
	for heard+lost < all {
		l, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d heard and %d lost: %v", heard, lost, err)
		}
		var n int
		if _, err := fmt.Sscanf(l, "*e dropped n=%d why=slow\n", &n); err == nil {
			lost += n
		} else {
			heard++
		}
	}
	if heard+lost != all || lost < all/2 {
		t.Errorf("heard %d, lost %d", heard, lost)
	}
	fmt.Fprintln(c, "version")
	if l, err := r.ReadString('\n'); err != nil || l != "version: 1.2.3\n" {
		t.Errorf("%q, %v", l, err)
	}
}

// timid is a connection of which a write takes as long as patience lets it.
type timid struct {
	bytes.Buffer
	until atomic.Int64 // UnixNano
	stuck atomic.Bool
	poked chan struct{}
	ended chan struct{}
}

func (w *timid) listens(bool)             {}
func (w *timid) patience(d time.Duration) { w.until.Store(time.Now().Add(d).UnixNano()); w.poke() }
func (w *timid) end()                     { close(w.ended) }
func (w *timid) poke() {
	select {
	case w.poked <- struct{}{}:
	default:
	}
}

func (w *timid) Write(b []byte) (int, error) {
	if !w.stuck.Load() {
		return w.Buffer.Write(b)
	}
	for time.Now().UnixNano() < w.until.Load() {
		select {
		case <-time.After(time.Until(time.Unix(0, w.until.Load()))):
		case <-w.poked:
		}
	}
	return len(b) / 2, os.ErrDeadlineExceeded
}

// TestAnAnswerDoesNotWaitForEvents: events may stay unread for long, an answer may not; and
// what broke off in the middle is never followed by anything.
func TestAnAnswerDoesNotWaitForEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := parts()
		w := &timid{poked: make(chan struct{}, 1), ended: make(chan struct{})}
		in, client := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- withSay(p).talk(t.Context(), root, in, w) }()
		io.WriteString(client, "events on\n")
		synctest.Wait()
		w.stuck.Store(true)
		w.Reset()
		p.Events.Publish(trtc.OnConnectionLost)
		begun := time.Now()
		time.Sleep(eventTime / 2)
		select {
		case err := <-done:
			t.Fatalf("it was let go: %v", err)
		default:
		}
		if time.Since(begun) != eventTime/2 {
			t.Errorf("%v", time.Since(begun))
		}
		asked := time.Now()
		io.WriteString(client, "version\n")
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(asked) != sendTime {
			t.Errorf("%v after %v", err, time.Since(asked))
		}
		<-w.ended
		if w.Len() != 0 {
			t.Errorf("%q", w.String())
		}
	})
}

// TestListenersMayBeSilent: who listens need not say anything, who does not is let go.
func TestListenersMayBeSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, on := range []bool{true, false} {
			server, client := net.Pipe()
			c := &patient{Conn: server}
			c.listens(on)
			begun := time.Now()
			time.AfterFunc(3*idleTime, func() { client.Close() })
			_, err := c.Read(make([]byte, 1))
			if on != errors.Is(err, io.EOF) || on != (time.Since(begun) == 3*idleTime) {
				t.Errorf("listening %v: %v after %v", on, err, time.Since(begun))
			}
			server.Close()
			time.Sleep(3 * idleTime)
		}
	})
}
