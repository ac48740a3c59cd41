package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"anchord/device/control"
)

// maxClients bounds the connections of one listener: a page has a few, and each costs
// memory. maxStreams of them at most are event streams, which stay: some places are left to
// those who ask something.
const (
	maxClients = 512
	maxStreams = maxClients * 3 / 4
)

// serve serves HTTP on addr until ctx ends, and calls ready when it listens. key is where
// the configuration says addr.
func serve(ctx context.Context, addr, key string, h http.Handler, log *slog.Logger, ready func(net.Addr)) error {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen for HTTP: %w: stop the program that has the port (another anchord?), or choose another address in %s", err, key)
	}
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w: choose another address in %s", err, key)
	}
	log.Info("HTTP is open", "address", l.Addr())
	ready(l.Addr())
	return serveOn(ctx, l, h, log)
}

func serveOn(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) (err error) {
	s := &http.Server{Handler: timed(h), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		// Event streams set their own deadline with each event.
		WriteTimeout: 30 * time.Second,
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// Event streams end when the daemon does.
		BaseContext: func(net.Listener) context.Context { return ctx }}
	few := &limited{Listener: l, places: make(chan struct{}, maxClients), done: ctx.Done(), idle: map[*placed]time.Time{}}
	s.ConnState = few.noted
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { failed <- s.Serve(few) })
	select {
	case err = <-failed:
	case <-ctx.Done():
		err = ctx.Err()
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if e := s.Shutdown(bye); e != nil {
		s.Close()
	}
	wg.Wait()
	return err
}

// counted counts the requests that next answers, by the pattern of their path, "other" if
// there is none, and by their status, "aborted" if a handler panicked before there was one.
func counted(t *control.Tally, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &coded{ResponseWriter: w}
		code := "aborted"
		defer func() {
			if c.code != 0 {
				code = strconv.Itoa(c.code)
			}
			_, path, _ := strings.Cut(r.Pattern, " ") // "GET /healthz"
			t.Add(cmp.Or(path, r.Pattern, "other"), code)
		}()
		next.ServeHTTP(c, r)
		code = "200"
	})
}

// coded remembers the status of an answer.
type coded struct {
	http.ResponseWriter
	code int // 0: none was written yet
}

func (c *coded) WriteHeader(code int) {
	if c.code == 0 && code >= 200 {
		c.code = code
	}
	c.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (c *coded) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// bodyTime is how long a request's body may take.
const bodyTime = 15 * time.Second

// timed gives bodies their time, so that no client keeps a place by sending slowly.
// Requests without one stay as long as they want: event streams are among them.
func timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
				http.Error(w, "the connection cannot be bounded", http.StatusInternalServerError)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// limited accepts no more connections than it has places. When there is none, the connection
// that has asked for nothing for the longest time has to go, unless it is young.
type limited struct {
	net.Listener
	places chan struct{}
	done   <-chan struct{}

	mu    sync.Mutex
	idle  map[*placed]time.Time // connections that ask for nothing, and since when
	short bool                  // somebody waits, and none could go: the next that has its answer has to
}

// young is how long a new connection may take for the beginning of its request when there is no
// place for others.
const young = time.Second

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	default:
		if !l.wait() {
			return nil, net.ErrClosed
		}
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placed{Conn: c, free: sync.OnceFunc(func() { <-l.places })}, nil
}

// wait waits for a place; false when the server ends.
func (l *limited) wait() bool {
	again := time.NewTicker(young)
	defer again.Stop()
	for {
		l.clear()
		select {
		case l.places <- struct{}{}:
			l.mu.Lock()
			l.short = false
			l.mu.Unlock()
			return true
		case <-again.C:
		case <-l.done:
			return false
		}
	}
}

// noted is the server's ConnState.
func (l *limited) noted(c net.Conn, s http.ConnState) {
	p, ok := c.(*placed)
	if !ok {
		return
	}
	l.mu.Lock()
	delete(l.idle, p)
	gone := l.short && s == http.StateIdle
	switch {
	case gone:
		l.short = false
	case s == http.StateNew:
		l.idle[p] = time.Now()
	case s == http.StateIdle:
		l.idle[p] = time.Now().Add(-young)
	}
	l.mu.Unlock()
	if gone {
		_ = p.Close() // gives its place back
	}
}

// clear closes the connection that has been idle for the longest time.
func (l *limited) clear() {
	l.mu.Lock()
	var oldest *placed
	for p, t := range l.idle {
		if oldest == nil || t.Before(l.idle[oldest]) {
			oldest = p
		}
	}
	if oldest != nil && time.Since(l.idle[oldest]) < young {
		oldest = nil
	}
	delete(l.idle, oldest)
	l.short = oldest == nil
	l.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close() // as above
	}
}

type placed struct {
	net.Conn
	free func()
}

func (p *placed) Close() error {
	err := p.Conn.Close()
	p.free()
	return err
}
