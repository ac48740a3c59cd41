package whip

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"anchord/internal/secret"
	"anchord/rtc"
)

func TestEventStream(t *testing.T) {
	var log seen
	n := 0
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Link", `</events?id=1>; rel="`+eventRelation+`"; events="join,kick"`)
			accept(w, "/s")
			return
		}
		if r.Method != http.MethodGet {
			return
		}
		log.add(r, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		n++
		switch n {
		case 1:
			_, _ = io.WriteString(w, ": hi\n\nid: e-1\nevent: subscribers\ndata: {\"user\":\"me\",\"count\":2}\n\nevent: speaking\ndata: {}\n\nevent: join\ndata: {\"user\":\"bob\"}\n\n")
		case 2:
			_, _ = io.WriteString(w, "event: leave\r\ndata: {\"user\":\"bob\",\r\ndata: \"reason\":\"timeout\"}\r\n\r\nid: e-2\revent: kick\rdata: {\"reason\":\"bye\\u001b[2J\"}\r\r")
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	c, err := newTest(t, Config{URL: srv.URL, Token: func(context.Context) (secret.Value, error) { return secret.New("T"), nil }}).Publish(t.Context(), testOffer)
	if err != nil {
		t.Fatal(err)
	}
	var got []rtc.Event
	for e := range c.Events() {
		got = append(got, e)
	}
	want := []rtc.Event{{Kind: rtc.Subscribers, User: "me", Count: 2}, {Kind: rtc.Joined, User: "bob"},
		{Kind: rtc.Left, User: "bob", Reason: "timeout"}, {Kind: rtc.Kicked, Reason: "bye [2J"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("events %+v", got)
	}
	if l := strings.Join(log.all(), "\n"); l != "GET /events Bearer T\nGET /events Bearer T  e-1\nGET /events Bearer T  e-2" {
		t.Errorf("requests\n%s", l)
	}
	if err := c.Hangup(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEventStreamEndsWithHangupAndWhenQuiet(t *testing.T) {
	opened := make(chan struct{}, 10)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Link", `<events>; rel=`+eventRelation)
			accept(w, "/s")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		opened <- struct{}{}
		<-r.Context().Done()
	})
	c, err := newTest(t, Config{URL: srv.URL, QuietTimeout: 50 * time.Millisecond}).Publish(t.Context(), testOffer)
	if err != nil {
		t.Fatal(err)
	}
	<-opened
	<-opened // it was quiet for too long
	if err := c.Hangup(t.Context()); err != nil {
		t.Error(err)
	}
	if _, open := <-c.Events(); open {
		t.Error("an event after the end")
	}
}
