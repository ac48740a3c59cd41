package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"anchord/device"
)

// events are the commands for what happens.
func events(p Parts) Table {
	names := Arg{Name: "names", Kind: Text, Optional: true, Rest: true,
		Help: "of the events, the beginning of one with *, several separated by commas or spaces; not given: all but onStatistics"}
	return Table{
		{Name: "events on", Help: "From now on tell what happens, in lines that begin with *e between answers. Only on the control socket; anchorctl events does it, and GET /v1/events.",
			Level: Read, Example: "events on health, onError",
			Args: []Arg{{Name: "since", Kind: Word, Named: true, Optional: true, Help: "the id of the last event that is known: tell those that came after it as well; 0 for all that are kept"}, names},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				l := listenerOf(ctx)
				if l == nil {
					return nil, Errorf(CodeState, "events come on a connection that stays: the control socket, or GET /v1/events")
				}
				names, since, err := asked(a.Word("names"), a.Word("since"))
				if err != nil {
					return nil, err
				}
				r := p.Events.Listen(names, since)
				last := r.Mark()
				l.set(r, asksJSON(ctx))
				return Fields{{"events", names.String()}, {"last", last}}, nil
			}},
		{Name: "events off", Help: "Tell no more on this connection.", Level: Read,
			Run: func(ctx context.Context, _ Args) (Fields, error) {
				if l := listenerOf(ctx); l != nil && l.set(nil, false) {
					return nil, nil
				}
				return Fields{{"unchanged", true}}, nil
			}},
		{Name: "events list", Help: "The newest events: number, time, name and details.", Level: Read, Example: "events list 50 health",
			Args: []Arg{{Name: "n", Kind: Int, Min: 1, Max: 256, Unit: "events", Optional: true, Default: "20", Help: "how many"}, names},
			Run: func(_ context.Context, a Args) (Fields, error) {
				f, _, err := asked(a.Word("names"), "")
				if err != nil {
					return nil, err
				}
				lines := []string{}
				for _, e := range p.Events.Newest(256) {
					if f.Passes(e.Name) {
						lines = append(lines, fmt.Sprint(e.ID, " ", moment(e.Time), " ", e.Name, words(e)))
					}
				}
				return Fields{{"event", lines[max(0, len(lines)-a.Int("n")):]}}, nil
			}},
	}
}

// asked checks what a client asks for.
func asked(names, since string) (device.Filter, string, error) {
	f, err := device.ParseFilter(names)
	if err != nil {
		return f, "", Errorf(CodeArgument, "%v", err)
	}
	if since != "" && !device.ValidMark(since) {
		return f, "", Errorf(CodeArgument, "since %s: allowed: the id of an event, or its number", short(since))
	}
	return f, since, nil
}

// moment writes a time as events and conditions have it.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// words gives an event's details as " key=value" each, which split reads back.
func words(e device.Event) string {
	var b bytes.Buffer
	for _, d := range e.Details {
		b.WriteString(" " + Clean(d.Key) + "=")
		switch v := d.Value.(type) {
		case float64:
			b.WriteString(number(v))
		case bool:
			b.WriteString(map[bool]string{true: "yes", false: "no"}[v])
		default:
			b.WriteString(Quote(Clean(fmt.Sprint(v))))
		}
	}
	return b.String()
}

// eventJSON gives an event as one line of JSON, without the line's end.
func eventJSON(e device.Event) []byte {
	details := Fields{}
	for _, d := range e.Details {
		details = append(details, Field{d.Key, d.Value})
	}
	f := Fields{{"event", e.Name}}
	if mark := e.Mark(); mark != "" {
		f = append(f, Field{"id", mark})
	}
	b, err := json.Marshal(append(f, Field{"time", moment(e.Time)}, Field{"fields", details}))
	if err != nil {
		return []byte(`{"event":"dropped","fields":{"n":1,"why":"slow"}}`) // cannot happen: plain values
	}
	return b
}

// listener is a connection's way out: answers and events take turns, each whole.
type listener struct {
	w       io.Writer
	changed chan struct{}
	waiting atomic.Int32 // answers that wait to be written

	turn   chan struct{}       // holds one thing while somebody writes; it guards what follows
	reader *device.EventReader // nil: events are off
	json   bool
	held   bool  // until events on is answered
	failed error // a write broke off: what follows would be read as its rest
}

// slow is a connection that can wait for a client that does not read.
type slow interface {
	// listens says whether the client may say nothing for as long as it likes.
	listens(on bool)
	// patience sets how long writes from now on, and one that is under way, may take.
	patience(time.Duration)
	// end ends the connection.
	end()
}

type listenerKey struct{}

func listenerOf(ctx context.Context) *listener {
	l, _ := ctx.Value(listenerKey{}).(*listener)
	return l
}

type jsonKey struct{}

// withJSON lets a command know that it was said in JSON.
func withJSON(ctx context.Context) context.Context { return context.WithValue(ctx, jsonKey{}, true) }

func asksJSON(ctx context.Context) bool { return ctx.Value(jsonKey{}) != nil }

// talk talks the text protocol until r ends, and tells of events in between.
func (t Table) talk(ctx context.Context, by Caller, r io.Reader, w io.Writer) error {
	l := &listener{w: w, changed: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(context.WithValue(ctx, listenerKey{}, l))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	defer l.set(nil, false)
	defer l.hurry()
	wg.Go(func() { l.tell(ctx) })
	return t.serve(ctx, by, r, l)
}

// set makes r the source of events, nil is none; it tells whether there was one.
func (l *listener) set(r *device.EventReader, inJSON bool) (was bool) {
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	l.hurry()
	l.turn <- struct{}{}
	_ = l.flush() // the next answer finds its error
	old := l.reader
	l.reader, l.json, l.held = r, inJSON, r != nil
	<-l.turn
	if old != nil {
		old.Close()
	}
	if s, ok := l.w.(slow); ok {
		s.listens(r != nil)
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return old != nil
}

// tell writes events as they come.
func (l *listener) tell(ctx context.Context) {
	for {
		l.turn <- struct{}{}
		var ready <-chan struct{}
		if l.reader != nil {
			ready = l.reader.Ready()
		}
		<-l.turn
		select {
		case <-ready:
			l.turn <- struct{}{}
			err := l.flush()
			<-l.turn
			if err != nil {
				if s, ok := l.w.(slow); ok {
					s.end()
				}
				return
			}
		case <-l.changed:
		case <-ctx.Done():
			return
		}
	}
}

// eventTime is how long a client may leave events unread before it is let go. Meanwhile it
// loses the oldest of them, and nothing else waits for it.
const eventTime = idleTime

// flush writes what lies in the mailbox. l.turn is taken.
func (l *listener) flush() error {
	if l.reader == nil || l.held || l.failed != nil {
		return l.failed
	}
	var b bytes.Buffer
	for _, e := range l.reader.Take() {
		if l.json {
			b.Write(append(eventJSON(e), '\n'))
		} else {
			fmt.Fprintf(&b, "*e %s%s\n", e.Name, words(e))
		}
	}
	if b.Len() == 0 {
		return nil
	}
	if s, ok := l.w.(slow); ok {
		s.patience(eventTime)
		if l.waiting.Load() > 0 { // since before the line above, perhaps
			s.patience(sendTime)
		}
	}
	_, l.failed = l.w.Write(b.Bytes())
	return l.failed
}

// hurry lets whoever waits for an answer wait no longer than one may take.
func (l *listener) hurry() {
	if s, ok := l.w.(slow); ok {
		s.patience(sendTime)
	}
}

// Write writes one whole answer; what happened before it comes first.
func (l *listener) Write(answer []byte) (int, error) {
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	l.hurry()
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if err := l.flush(); err != nil {
		return 0, err
	}
	l.hurry()
	n, err := l.w.Write(answer)
	if l.failed = err; l.held {
		l.held = false
		_ = l.flush() // the next answer finds its error
	}
	return n, err
}
