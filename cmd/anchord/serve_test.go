package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"anchord/device/control"
)

// halves is a listener whose connections are pipes, so that time can be the test's.
type halves struct {
	c      chan net.Conn
	closed chan struct{}
}

func (h *halves) Accept() (net.Conn, error) {
	select {
	case c := <-h.c:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}
func (h *halves) Close() error   { close(h.closed); return nil }
func (h *halves) Addr() net.Addr { return &net.TCPAddr{} }

// TestSlowClientsAreLetGo has clients that stop in the middle of everything.
func TestSlowClientsAreLetGo(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			w.WriteHeader(http.StatusOK)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, "slow", http.StatusRequestTimeout)
			return
		}
		w.Write(make([]byte, 1<<20))
	})
	for _, c := range []struct {
		name, send string
		most       time.Duration // until it is let go; 0: it stays
	}{
		{"half a header", "GET / HTTP/1.1\r\nHost: lo", 5 * time.Second},
		{"half a body", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\nv", bodyTime},
		{"half a chunk", "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n32\r\nv", bodyTime},
		{"does not read", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 30 * time.Second},
		{"a stream", "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				l := &halves{make(chan net.Conn), make(chan struct{})}
				ended := make(chan error, 1)
				go func() { ended <- serveOn(ctx, l, h, slog.New(slog.DiscardHandler)) }()
				mine, its := net.Pipe()
				gone := make(chan struct{})
				l.c <- &told{its, gone}
				io.WriteString(mine, c.send)
				if c.name != "does not read" {
					go io.Copy(io.Discard, mine)
				}
				begun := time.Now()
				select {
				case <-gone:
					if c.most == 0 {
						t.Errorf("let go after %v", time.Since(begun))
					}
				case <-time.After(c.most + time.Minute):
					if c.most != 0 {
						t.Error("not let go")
					}
				}
				if d := time.Since(begun); c.most != 0 && d > c.most+time.Second {
					t.Errorf("let go after %v", d)
				}
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				mine.Close()
			})
		})
	}
}

// TestIdleClientsMakeRoom has more clients than places, of whom only the last wants something.
func TestIdleClientsMakeRoom(t *testing.T) {
	busy := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			<-busy
		}
		io.WriteString(w, "here")
	})
	synctest.Test(t, func(t *testing.T) {
		busy = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		l := &halves{make(chan net.Conn), make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- serveOn(ctx, l, h, slog.New(slog.DiscardHandler)) }()
		begun := time.Now()
		var all []net.Conn
		for range maxClients + 100 {
			mine, its := net.Pipe()
			l.c <- its
			all = append(all, mine)
		}
		last := all[len(all)-1]
		go io.WriteString(last, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		b := make([]byte, 12)
		if _, err := io.ReadFull(last, b); err != nil || string(b) != "HTTP/1.1 200" {
			t.Errorf("%q, %v", b, err)
		}
		if d := time.Since(begun); d > young {
			t.Errorf("it took %v", d)
		}

		// All have asked for something; one of them gets it and wants nothing more.
		var served atomic.Int32
		for i := range 2 * maxClients {
			mine, its := net.Pipe()
			go io.Copy(io.Discard, mine)
			go func() {
				l.c <- its
				served.Add(1)
				io.WriteString(mine, "GET /busy HTTP/1.1\r\nHost: localhost\r\n\r\n")
			}()
			all = append(all, mine)
			if i < maxClients-1 {
				time.Sleep(young) // for one of those that ask for nothing to go
			}
		}
		synctest.Wait()
		if n := served.Load(); n > maxClients+1 {
			t.Errorf("%d clients at once", n)
		}
		close(busy)
		synctest.Wait() // no time passes
		if n := served.Load(); n != 2*maxClients {
			t.Errorf("%d of %d clients came in", n, 2*maxClients)
		}
		cancel()
		for _, c := range all {
			c.Close()
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// told says when it is closed.
type told struct {
	net.Conn
	gone chan struct{}
}

func (c *told) Close() error {
	select {
	case <-c.gone:
	default:
		close(c.gone)
	}
	return c.Conn.Close()
}

func TestAddressThatCannotBeListenedOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for addr, want := range map[string]string{l.Addr().String(): "another anchord?", "192.0.2.1:1": "choose another address in [x] y"} {
		err := serve(t.Context(), addr, "[x] y", nil, slog.New(slog.DiscardHandler), func(net.Addr) { t.Error("it listens") })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestRequestsAreCounted(t *testing.T) {
	var n control.Tally
	inner := http.NewServeMux()
	inner.HandleFunc("/rooms/{room}/{what}", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	})
	mux := http.NewServeMux()
	mux.Handle("/rooms/", inner)
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("GET /panics", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	s := httptest.NewServer(counted(&n, control.Local(mux)))
	defer s.Close()
	for _, path := range []string{"/healthz", "/healthz", "/stream", "/rooms/1/state", "/rooms/2/state", "/rooms/3/", "/x", "/y", "/panics"} {
		if a, err := s.Client().Get(s.URL + path); err == nil {
			a.Body.Close()
		}
	}
	if a, err := s.Client().Post(s.URL+"/healthz", "", nil); err == nil {
		a.Body.Close()
	}
	want := []control.Count{{Way: "/healthz", Result: "200", N: 2}, {Way: "/panics", Result: "aborted", N: 1},
		{Way: "/rooms/{room}/{what}", Result: "418", N: 2}, {Way: "/stream", Result: "200", N: 1}, {Way: "other", Result: "404", N: 3}, {Way: "other", Result: "405", N: 1}}
	if d := cmp.Diff(want, n.Counts()); d != "" {
		t.Error(d)
	}
}
