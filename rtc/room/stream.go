package room

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// writeLimit is how long a client may take for one event.
const writeLimit = 10 * time.Second

// events serves the event stream (Server-Sent Events, HTML standard section 9.2).
func (s *Server) events(w http.ResponseWriter, r *http.Request, room string, who Identity) {
	id := r.URL.Query().Get("id")
	if peer, err := s.anySession(room, id); err == nil && !s.cfg.Open && who.User != peer.user {
		refuse(w, noSession())
		return
	}
	stream, err := s.watch(room, id, r.Header.Get("Last-Event-ID"))
	if err != nil {
		refuse(w, err)
		return
	}
	defer stream.close()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies shall pass events on at once
	out := http.NewResponseController(w)
	send := func(format string, args ...any) bool {
		_ = out.SetWriteDeadline(time.Now().Add(writeLimit)) // where the server can
		_, err := fmt.Fprintf(w, format, args...)
		return err == nil
	}
	tell := func(e event) bool {
		if mark := stream.mark(e); mark != "" && !send("id: %s\n", mark) {
			return false
		}
		return send("event: %s\ndata: %s\n\n", e.name, e.data)
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	_, _ = io.WriteString(w, "retry: 1000\n\n")
	for _, e := range stream.first {
		if !tell(e) {
			return
		}
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for out.Flush() == nil {
		select {
		case e, ok := <-stream.reader.c:
			if !ok || !tell(e) {
				return
			}
		case <-ticker.C:
			if !send(": here\n\n") {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// anySession finds a session of either kind.
func (s *Server) anySession(room, id string) (*session, error) {
	if peer, err := s.find(room, id, true); err == nil {
		return peer, nil
	}
	return s.find(room, id, false)
}
