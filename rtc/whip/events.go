package whip

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"anchord/internal/run"
	"anchord/rtc"
)

// eventRelation is the link to a session's Server-Sent Events
// (https://datatracker.ietf.org/doc/draft-ietf-wish-whep/, "server-sent-events").
const eventRelation = "urn:ietf:params:whip:ext:core:server-sent-events"

// listen follows the event stream if the room named one.
func (c *call) listen(base *url.URL, links []link) {
	for _, l := range links {
		if !l.rel(eventRelation) {
			continue
		}
		u, err := locate(base, l.target)
		if err != nil {
			c.s.cfg.Log.Warn("event stream ignored", "err", c.s.cfg.Mask.HideError(err))
			continue
		}
		ctx, cancel := context.WithCancel(context.Background()) // Hangup ends it
		c.quit, c.events = cancel, make(chan rtc.Event, 16)
		c.follows.Go(func() {
			defer close(c.events)
			c.follow(ctx, u)
		})
		return
	}
}

// follow reads the stream until ctx ends or the room says that it is no more.
func (c *call) follow(ctx context.Context, u *url.URL) {
	last := ""
	backoff := run.Backoff{Base: 500 * time.Millisecond, Max: 10 * time.Second}
	for n := 1; ctx.Err() == nil; n++ {
		before := last
		gone, err := c.read(ctx, u, &last)
		if gone {
			c.s.cfg.Log.Debug("event stream ended for good", "err", c.s.cfg.Mask.HideError(err))
			return
		}
		if last != before {
			n = 1
		}
		_ = backoff.Wait(ctx, n, nil) // the loop's condition sees the context
	}
}

// read reads one connection's worth of events. gone says that there will be none.
func (c *call) read(ctx context.Context, u *url.URL, last *string) (gone bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(c.s.cfg.QuietTimeout, cancel)
	defer quiet.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return true, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-store")
	if *last != "" {
		req.Header.Set("Last-Event-ID", *last)
	}
	if !c.token.IsZero() && c.s.mayHaveToken(u) {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	res, err := c.s.client.Do(req)
	if err != nil {
		return false, plain(err)
	}
	defer res.Body.Close()
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case res.StatusCode == http.StatusNoContent, // the standard's way to say "do not come back"
		res.StatusCode >= 300 && res.StatusCode < 500 && res.StatusCode != http.StatusTooManyRequests:
		return true, fmt.Errorf("status %d", res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return false, fmt.Errorf("status %d", res.StatusCode)
	case kind != "text/event-stream":
		return true, fmt.Errorf("it is no event stream but %s", clean(kind))
	}
	var p pace
	return false, readStream(res.Body, func() { quiet.Reset(c.s.cfg.QuietTimeout) }, func(m message) bool {
		if m.hasID {
			*last = m.id
		}
		e, ok := m.event()
		if !ok {
			return true
		}
		e.User, e.Reason = c.s.cfg.Mask.Hide(e.User), c.s.cfg.Mask.Hide(e.Reason)
		if d := p.next(time.Now()); d > 0 {
			t := time.NewTimer(d)
			defer t.Stop()
			select {
			case <-t.C:
			case <-ctx.Done():
				return false
			}
		}
		select {
		case c.events <- e:
			return true
		case <-ctx.Done():
			return false
		}
	})
}

// pace slows a room down that says more than anybody can read: each event is logged and told on.
type pace struct{ paid time.Time }

// What a room may say: so many events at once, and one each eventEvery in the long run.
const (
	eventBurst = 200
	eventEvery = 50 * time.Millisecond
)

// next gives how long the next event has to wait.
func (p *pace) next(now time.Time) time.Duration {
	if p.paid.Before(now) {
		p.paid = now
	}
	p.paid = p.paid.Add(eventEvery)
	return p.paid.Sub(now) - eventBurst*eventEvery
}

// message is one Server-Sent Event (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type message struct {
	name, id string
	hasID    bool
	data     []byte
}

// readStream reads messages until yield says no or the stream ends. beat is called for
// every line.
func readStream(r io.Reader, beat func(), yield func(message) bool) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxBody)
	s.Split(splitLine)
	var m message
	var data []byte
	some := false
	for first := true; s.Scan(); first = false {
		beat()
		line := s.Bytes()
		if first {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if len(line) == 0 {
			if some {
				m.data = bytes.TrimSuffix(data, []byte("\n"))
				if !yield(m) {
					return nil
				}
			}
			m, data, some = message{}, nil, false
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			m.name = string(value)
		case "id":
			if bytes.IndexByte(value, 0) < 0 && len(value) <= 256 && clean(string(value)) == string(value) {
				m.id, m.hasID = string(value), true
				some = true
			}
		case "data":
			if len(data)+len(value) > maxBody {
				return fmt.Errorf("an event is longer than %d bytes", maxBody)
			}
			data = append(append(data, value...), '\n')
			some = true
		}
	}
	return s.Err()
}

// splitLine ends lines at CR LF, LF or CR. A CR at the end of what has come waits for
// what follows, unless it ends an empty line's partner at the end of the stream.
func splitLine(data []byte, atEOF bool) (advance int, token []byte, err error) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0 && atEOF && len(data) > 0:
		return len(data), data, nil
	case i < 0:
		return 0, nil, nil
	case data[i] == '\n':
		return i + 1, data[:i], nil
	case i+1 < len(data) && data[i+1] == '\n':
		return i + 2, data[:i], nil
	case i+1 < len(data) || atEOF:
		return i + 1, data[:i], nil
	}
	return 0, nil, nil
}

// event gives what the room says, in the words of package rtc.
func (m message) event() (rtc.Event, bool) {
	kinds := map[string]rtc.EventKind{"subscribers": rtc.Subscribers, "join": rtc.Joined, "leave": rtc.Left,
		"kick": rtc.Kicked, "dissolve": rtc.Dissolved}
	kind, ok := kinds[m.name]
	if !ok {
		return rtc.Event{}, false
	}
	var v struct {
		User   string `json:"user"`
		Count  *int   `json:"count"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(m.data, &v) != nil && kind != rtc.Kicked && kind != rtc.Dissolved {
		return rtc.Event{}, false // an end without a readable reason is still an end
	}
	e := rtc.Event{Kind: kind, User: clean(v.User), Reason: clean(v.Reason)}
	if kind == rtc.Subscribers {
		if v.Count == nil || *v.Count < 0 {
			return rtc.Event{}, false
		}
		e.Count = *v.Count
	}
	if (kind == rtc.Joined || kind == rtc.Left) && strings.TrimSpace(e.User) == "" {
		return rtc.Event{}, false
	}
	return e, true
}
