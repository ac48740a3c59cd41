package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"anchord/device/control"
)

// TestCommandThatTakesLong waits for a command for longer than a body or an answer may be
// on its way, and leaves another one alone.
func TestCommandThatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan time.Duration, 1)
		table := control.Table{{Name: "wait", Level: control.Read, Most: 10 * time.Minute, Run: func(ctx context.Context, _ control.Args) (control.Fields, error) {
			begun := time.Now()
			select {
			case <-time.After(5 * time.Minute):
			case <-ctx.Done():
				left <- time.Since(begun)
			}
			return nil, ctx.Err()
		}}}
		mux := http.NewServeMux()
		h := control.HTTP{Table: table, Gate: &control.Gate{Auth: anybody{}}}
		h.Register(mux)
		ctx, cancel := context.WithCancel(t.Context())
		l := &halves{make(chan net.Conn), make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- serveOn(ctx, l, mux, slog.New(slog.DiscardHandler)) }()
		say := func() net.Conn {
			mine, its := net.Pipe()
			l.c <- its
			io.WriteString(mine, "POST /v1/command HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"cmd\":\"wait\"}")
			return mine
		}
		c := say()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != "{\"ok\":true}\n" {
			t.Errorf("%q, %v", b, err)
		}
		c.Close()
		gone := say()
		time.Sleep(time.Minute)
		gone.Close()
		if d := <-left; d != time.Minute {
			t.Errorf("a command whose client went after a minute ended after %v", d)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// anybody lets all in.
type anybody struct{}

func (anybody) Authenticate(string) (string, control.Level, bool) { return "x", control.Admin, true }

func (anybody) While(ctx context.Context, _ string) (context.Context, func()) {
	return context.WithCancel(ctx)
}
