package main

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"anchord/device/control"
	"anchord/internal/secret"
)

// address gives where a daemon's HTTP port is, from what it says.
func address(t *testing.T, w *written) string {
	t.Helper()
	until(t, w, "HTTP is open")
	_, rest, _ := strings.Cut(w.String(), "HTTP is open")
	_, rest, _ = strings.Cut(rest, "address=")
	a, _, _ := strings.Cut(rest, "\n")
	return a
}

// TestTokensSurviveARestart makes tokens by the socket, comes in with them by HTTP, also
// after a restart, and revokes one.
func TestTokensSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	file, socket := demo(t, dir, fmt.Sprintf("[store]\npath = %q\n", filepath.Join(dir, "state", "anchord.db")))
	var w *written
	run := func() (stop func()) {
		w = &written{}
		d := program("anchord", "-config", file)
		d.Stderr = w
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, w, "control socket is open")
		return func() {
			d.Process.Signal(syscall.SIGTERM)
			if _, err := ends(t, d, w); err != nil {
				t.Error(err)
			}
		}
	}
	say := func(c control.Client, words ...string) *control.Answer {
		t.Helper()
		a, err := c.Do(t.Context(), words)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	local := control.Client{Socket: socket}
	said := func(text string, words ...string) string {
		t.Helper()
		a := say(control.Client{URL: "http://" + address(t, w), Token: secret.New(text)}, words...)
		http.DefaultClient.CloseIdleConnections()
		if a.Error != nil {
			return a.Error.Slug
		}
		return "ok"
	}
	stop := run()
	read := say(local, "token", "create", "name=dash", "level=read").Word("token")
	use := say(local, "token", "create", "name=cart", "level=operate", "expires=1d").Word("token")
	for range 2 {
		for _, c := range []struct {
			secret, want string
			words        []string
		}{
			{read, "ok", []string{"status"}}, {read, "forbidden", []string{"mic", "mute", "on"}}, {read, "forbidden", []string{"token", "list"}},
			{use, "ok", []string{"mic", "mute", "on"}}, {use, "forbidden", []string{"token", "create", "name=x", "level=admin"}},
			{"x" + read, "denied", []string{"status"}},
		} {
			if got := said(c.secret, c.words...); got != c.want {
				t.Errorf("%v: %s, want %s", c.words, got, c.want)
			}
		}
		if s := say(local, "token", "list").Text(); !strings.Contains(s, "name: cart") || strings.Contains(s, read) || strings.Contains(s, use) {
			t.Error(s)
		}
		if s := w.String(); strings.Contains(s, read) || strings.Contains(s, use) || strings.Contains(s, "left out") {
			t.Error(s)
		}
		stop()
		stop = run()
	}
	// An event stream that is open ends with its token.
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address(t, w)+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+read)
	stream, err := http.DefaultClient.Do(r)
	if err != nil || stream.StatusCode != http.StatusOK {
		t.Fatal(stream, err)
	}
	defer stream.Body.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, stream.Body)
		ended <- err
	}()
	if a := say(local, "token", "revoke", "dash"); a.Error != nil {
		t.Error(a.Error)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the event stream of a revoked token goes on")
	}
	http.DefaultClient.CloseIdleConnections()
	if got := said(read, "status"); got != "denied" {
		t.Errorf("after it was revoked: %s", got)
	}
	stop()
	stop = run()
	if got := said(read, "status"); got != "denied" {
		t.Errorf("after it was revoked, and a restart: %s", got)
	}
	stop()
}
