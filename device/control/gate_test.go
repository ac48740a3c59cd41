package control

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// knock sends a request with a token from an address.
func knock(h http.Handler, from, secret string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://127.0.0.1/v1/status", nil)
	r.RemoteAddr = from
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		k, _ := newTokens(t)
		g := &Gate{Auth: k, Log: slog.New(slog.NewTextHandler(&log, nil))}
		h := g.Guard(Read, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, CallerOf(r.Context()).Name) })
		const bad, good = "192.0.2.1:1", "192.0.2.2:1"
		for range 100 { // who says nothing guesses nothing
			if w := knock(h, bad, ""); w.Code != 401 || w.Header().Get("WWW-Authenticate") != `Bearer realm="anchord"` {
				t.Fatal(w.Code, w.Header())
			}
		}
		for range wrongBurst + 1 {
			if w := knock(h, bad, token+"x"); w.Code != 401 || w.Header().Get("WWW-Authenticate") != `Bearer realm="anchord", error="invalid_token"` {
				t.Fatal(w.Code, w.Header())
			}
		}
		for _, secret := range []string{token + "x", token} {
			if w := knock(h, bad, secret); w.Code != 429 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "try again in 1 s") {
				t.Error(w.Code, w.Header(), w.Body)
			}
		}
		if w := knock(h, good, token); w.Code != 200 || w.Body.String() != "token first" {
			t.Error("another sender:", w.Code, w.Body)
		}
		time.Sleep(time.Second)
		if w := knock(h, bad, token); w.Code != 200 {
			t.Error("after the wait:", w.Code, w.Body)
		}
		if w := knock(h, bad, token+"x"); w.Code != 401 {
			t.Error("after the wait:", w.Code, w.Body)
		}
		if w := knock(h, bad, token); w.Code != 429 || w.Header().Get("Retry-After") != "2" {
			t.Error("once more:", w.Code, w.Header())
		}
		if r := g.Refused(); r != (Refused{Missing: 100, Wrong: wrongBurst + 2, Limited: 3}) {
			t.Errorf("%+v", r)
		}
		if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "from=192.0.2.1 wait=1s") || strings.Contains(s, token) {
			t.Error(s)
		}
	})
}

// TestGateUnderAttack has wrong tokens from many addresses: right ones from others get in
// all the time.
func TestGateUnderAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := newTokens(t)
		g := &Gate{Auth: k}
		h := g.Guard(Read, func(http.ResponseWriter, *http.Request) {})
		codes := map[int]int{}
		for i := range 20000 {
			codes[knock(h, fmt.Sprintf("10.0.%d.%d:1", i%2, i%251), token+"x").Code]++
			if i%10 == 0 {
				if w := knock(h, fmt.Sprintf("192.0.2.%d:1", i%251), token); w.Code != 200 {
					t.Fatal(i, w.Code, w.Body)
				}
			}
			time.Sleep(time.Millisecond)
		}
		// 502 senders in 20 s: what all may try together is soon used up, and then each waits,
		// for ever longer.
		if codes[401]+codes[429] != 20000 || codes[401] > 502*7 {
			t.Error(codes)
		}
	})
}

// TestGateEndsStreams revokes a token while a request lasts.
func TestGateEndsStreams(t *testing.T) {
	k, _ := newTokens(t)
	secret := mustCreate(t, k, "tv", Read, 0)
	g := &Gate{Auth: k}
	ended := make(chan error, 1)
	s := httptest.NewServer(g.Guard(Read, func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
	}))
	defer s.Close()
	r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	a, err := s.Client().Do(r)
	if err != nil || a.StatusCode != 200 {
		t.Fatal(a, err)
	}
	defer a.Body.Close()
	if err := k.Revoke("tv"); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != errRevoked {
		t.Error(err)
	}
	if again, err := s.Client().Do(r); err != nil || again.StatusCode != 401 {
		t.Error(again, err)
	} else {
		again.Body.Close()
	}
}
