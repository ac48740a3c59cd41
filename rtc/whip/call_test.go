package whip

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"anchord/rtc"
)

func TestPatchRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		status           int
		body             string
		trickle, restart error // nil: another error than the two
	}{
		"405":      {405, "", rtc.ErrNoTrickle, rtc.ErrNoRestart},
		"501":      {501, "", rtc.ErrNoTrickle, rtc.ErrNoRestart},
		"404":      {404, "", nil, nil},
		"410":      {410, "", nil, nil},
		"412":      {412, "", nil, rtc.ErrNoRestart},
		"503":      {503, "", nil, nil},
		"nonsense": {200, "hello", errDone, rtc.ErrNoRestart},
		"old":      {200, "a=ice-ufrag:sfrg\r\na=ice-pwd:spwdspwdspwdspwdspwdsp\r\n", errDone, rtc.ErrNoRestart},
		"injected": {200, "a=ice-ufrag:x y\r\na=ice-pwd:spwdspwdspwdspwdspwdsp\r\n", errDone, rtc.ErrNoRestart},
		"204":      {204, "", errDone, rtc.ErrNoRestart},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPatch {
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.body)
					return
				}
				if r.Method == http.MethodPost {
					accept(w, "/s")
				}
			})
			call, err := newTest(t, Config{URL: srv.URL}).Publish(t.Context(), testOffer)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = call.Hangup(t.Context()) }()
			err = call.Trickle(t.Context(), nil, true)
			judge(t, "trickle", err, c.trickle, rtc.ErrNoTrickle)
			_, err = call.Restart(t.Context(), testOffer)
			judge(t, "restart", err, c.restart, rtc.ErrNoRestart)
		})
	}
}

func TestHangupIsBoundedAndTriedTwice(t *testing.T) {
	var log seen
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			log.add(r, "")
			<-r.Context().Done()
			return
		}
		accept(w, "/s")
	})
	s := newTest(t, Config{URL: srv.URL, HangupTimeout: 50 * time.Millisecond})
	c, err := s.Publish(t.Context(), testOffer)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := c.Hangup(t.Context()); err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Error(err)
	}
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
	if n := len(log.all()); n != 2 {
		t.Errorf("%d tries", n)
	}
}
