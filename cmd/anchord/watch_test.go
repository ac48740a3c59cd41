package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestPageURL(t *testing.T) {
	for _, c := range []struct{ addr, host, room, want string }{
		{"127.0.0.1:8080", "", "101", "http://127.0.0.1:8080/rooms/101"},
		{"127.0.0.1:8080", "192.0.2.1", "101", "http://127.0.0.1:8080/rooms/101"},
		{"0.0.0.0:80", "", "101", "http://127.0.0.1:80/rooms/101"},
		{"0.0.0.0:80", "192.0.2.1", "101", "http://192.0.2.1:80/rooms/101"},
		{"[::]:80", "cart.example", "101", "http://cart.example:80/rooms/101"},
		{"[::1]:80", "", "ward 7?#%", "http://[::1]:80/rooms/ward%207%3F%23%25"},
	} {
		a, err := net.ResolveTCPAddr("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := pageURL(a, c.host, c.room); got != c.want {
			t.Errorf("%s %s %s: got %s, want %s", c.addr, c.host, c.room, got, c.want)
		}
	}
}

// The line comes once for each time that a room has its first picture, and whether the page
// or the picture is there first.
func TestWatchIsSaidOnce(t *testing.T) {
	page := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}
	for name, c := range map[string]struct {
		do   func(w *watch)
		want string
	}{
		"page first":    {func(w *watch) { w.serves(page); w.shows("1") }, "1"},
		"picture first": {func(w *watch) { w.shows("1"); w.serves(page) }, "1"},
		"no page":       {func(w *watch) { w.shows("1") }, ""},
		"no picture":    {func(w *watch) { w.serves(page) }, ""},
		"another room":  {func(w *watch) { w.shows("1"); w.serves(page); w.shows("2") }, "1 2"},
	} {
		var out bytes.Buffer
		c.do(&watch{log: slog.New(slog.NewTextHandler(&out, nil))})
		var said []string
		for l := range strings.Lines(out.String()) {
			_, room, _ := strings.Cut(l, `msg="watch here" url=http://127.0.0.1:8080/rooms/`)
			said = append(said, strings.TrimSpace(room))
		}
		if got := strings.Join(said, " "); got != c.want {
			t.Errorf("%s: said %q, want %q", name, got, c.want)
		}
	}
}

func TestServeSaysWhatToDoAboutATakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = serve(context.Background(), l.Addr().String(), "[control.http] listen", http.NotFoundHandler(), slog.New(slog.DiscardHandler),
		func(net.Addr) { t.Error("it is said to be open") })
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "already in use") ||
		!strings.HasSuffix(err.Error(), "or choose another address in [control.http] listen") {
		t.Errorf("got %v", err)
	}
}
