package control

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"anchord/device"
)

// Limits of event streams by HTTP.
const (
	maxStreams = 32
	beatEvery  = 15 * time.Second // proxies and clients end a connection that is silent for long
	streamTime = 10 * time.Second // a client that does not read for so long is let go
)

// stream serves what happens as Server-Sent Events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html): ?names= chooses, and
// Last-Event-ID, or ?since= where a client cannot send headers, resumes. A stream ends
// with the daemon, and when its token is good no more.
func (h *HTTP) stream() http.HandlerFunc {
	places := make(chan struct{}, maxStreams)
	return func(w http.ResponseWriter, r *http.Request) {
		names, since, err := chosen(r.URL.RawQuery)
		if err != nil {
			fail(w, http.StatusBadRequest, errorOf(err))
			return
		}
		// A browser sends this one by itself, and knows better; where it comes from nobody
		// can be told that it is wrong.
		if last := r.Header.Get("Last-Event-ID"); last != "" {
			since = last
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			w.Header().Set("Retry-After", "5")
			fail(w, http.StatusServiceUnavailable, Errorf(CodeBusy, "%d clients listen to events already", maxStreams))
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no") // proxies shall pass events on at once
		w.WriteHeader(http.StatusOK)
		if r.Method != http.MethodHead {
			reader := h.Events.Listen(names, since)
			defer reader.Close()
			follow(w, r, reader)
		}
	}
}

// chosen reads what a client asks for.
func chosen(query string) (names device.Filter, since string, err error) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return names, "", Errorf(CodeSyntax, "the query cannot be read: %v", err)
	}
	for k, v := range q {
		if k != "names" && k != "since" {
			return names, "", Errorf(CodeArgument, "no parameter is named %s: names, since", short(k))
		}
		if len(v) > 1 {
			return names, "", Errorf(CodeArgument, "%s is given twice", k)
		}
	}
	return asked(q.Get("names"), q.Get("since"))
}

// follow writes events until the client goes or may listen no more.
func follow(w http.ResponseWriter, r *http.Request, reader *device.EventReader) {
	out := http.NewResponseController(w)
	send := func(format string, a ...any) bool {
		_ = out.SetWriteDeadline(time.Now().Add(streamTime)) // where the server can
		_, err := fmt.Fprintf(w, format, a...)
		return err == nil
	}
	// An id alone is no event, and is where to resume all the same.
	alive := send("retry: 1000\nid: %s\n\n", reader.Mark())
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for alive && out.Flush() == nil {
		select {
		case <-reader.Ready():
			for _, e := range reader.Take() {
				if mark := e.Mark(); mark != "" {
					alive = alive && send("id: %s\n", mark)
				}
				alive = alive && send("event: %s\ndata: %s\n\n", e.Name, eventJSON(e))
			}
		case <-beat.C:
			alive = send(": here\nid: %s\n\n", reader.Mark())
		case <-r.Context().Done():
			return
		}
	}
}
