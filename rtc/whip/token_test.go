package whip

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"anchord/internal/secret"
	"anchord/rtc"
)

// TestSecretsAreNotRepeated: a server that knows the token, the query of its address and
// the TURN password it gave writes them into whatever it says.
func TestSecretsAreNotRepeated(t *testing.T) {
	const token, key, turn = "canary-0123456789/+", "keycanary-0123456789", "turncanary-0123456789"
	repeated := strings.Join([]string{token, url.QueryEscape(token), url.PathEscape(token), strconv.Quote(token), key, "Authorization: Bearer " + token}, " ")
	mode := ""
	var base string
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		where := "/s/" + url.PathEscape(token) + "?" + url.Values{"token": {token}, "k": {key}}.Encode()
		switch {
		case r.URL.Path == "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "event: join\ndata: {\"user\":%q}\n\nevent: kick\ndata: {\"reason\":%q}\n\n", token, repeated)
		case strings.HasPrefix(mode, "redirect"):
			w.Header().Set("Location", map[string]string{"redirect": where, "redirect to nobody": "http://" + key + ".invalid/" + where,
				"redirect with a password": "http://u:" + key + "@h/", "redirect to nonsense": "x" + key + ":" + token + "%zz"}[mode])
			w.WriteHeader(http.StatusTemporaryRedirect)
		case mode == "page":
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, "<html>"+html.EscapeString(repeated))
		case mode == "problem":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			json.NewEncoder(w).Encode(map[string]string{"title": repeated, "detail": repeated})
		case mode == "text":
			http.Error(w, repeated, http.StatusForbidden)
		case mode == "type":
			w.Header().Set("Content-Type", "x/"+token+key)
			w.WriteHeader(http.StatusCreated)
		case mode == "answer", mode == "late" && r.Method == "POST":
			w.Header().Set("Content-Type", "application/sdp")
			w.Header().Set("Location", where)
			w.Header().Add("Link", `<turn:turn.example.net>; rel="ice-server"; username="u"; credential="`+turn+`"`)
			w.Header().Add("Link", "<"+base+"/events>; rel=\""+eventRelation+"\"")
			w.WriteHeader(http.StatusCreated)
			if mode == "answer" {
				io.WriteString(w, "v=0\r\n"+repeated+"\r\n")
			} else {
				io.WriteString(w, testAnswer)
			}
		default:
			http.Error(w, repeated+" "+turn[:len(turn)*strings.Count(mode, "late")], http.StatusBadGateway)
		}
	})
	base = srv.URL
	for _, mode = range []string{"redirect", "redirect to nobody", "redirect with a password", "redirect to nonsense", "page", "problem", "text", "type", "answer", "late", "else"} {
		var log strings.Builder
		s := newTest(t, Config{URL: srv.URL + "/whip?key=" + key + "&token=" + key, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Token: func(context.Context) (secret.Value, error) { return secret.New(token), nil }})
		var said []string
		c, err := s.Publish(t.Context(), testOffer)
		if mode == "late" {
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				e := <-c.Events()
				said = append(said, e.User, e.Reason)
			}
			_, restart := c.Restart(t.Context(), testOffer)
			for _, err := range []error{c.(*call).Reach(t.Context()), c.Trickle(t.Context(), nil, true), restart, c.Hangup(t.Context())} {
				said = append(said, fmt.Sprint(err))
			}
			said = append(said, fmt.Sprintf("%v %+v", c.ICEServers(), c.ICEServers()))
		} else if err == nil {
			t.Errorf("%s: no error", mode)
		}
		said = append(said, fmt.Sprint(err), log.String())
		var no *rtc.Refused
		if errors.As(err, &no) {
			said = append(said, fmt.Sprintf("%+v", no))
		}
		all := strings.Join(said, "\n")
		for _, secret := range []string{"canary", "0123456789"} {
			if strings.Contains(strings.ToLower(all), secret) {
				t.Errorf("%s: %s", mode, all)
			}
		}
		t.Logf("%s: %s", mode, said)
	}
}
