package device

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"anchord/internal/trtc"
)

// Severity says how bad a condition is.
type Severity int

// The severities.
const (
	SeverityInfo    Severity = iota + 1 // good to know
	SeverityWarning                     // worse than it should be, and it goes on
	SeverityError                       // something that is wanted does not work: a person must act
)

// String gives "info", "warning" or "error".
func (s Severity) String() string {
	switch s {
	case SeverityInfo:
		return "info"
	case SeverityWarning:
		return "warning"
	case SeverityError:
		return "error"
	}
	return "good"
}

// Fact is what a part says is wrong with it.
type Fact struct {
	Slug string // a row of Conditions
	// Of tells apart several of the same condition: a key, a part's name. It may be empty.
	Of    string
	Cause string // what is wrong here, usually an error's words
	Do    string // what to do, when the part knows better than the table; may be empty
}

// Standing is a condition that stands now.
type Standing struct {
	Condition
	Of    string
	Since time.Time // when it began
	Cause string
	Do    string
	Count int // times that it was raised since the daemon began
}

// Key is the condition's name with what it is of: "part-failed:mic-watch".
func (s *Standing) Key() string {
	if s.Of == "" {
		return s.Slug
	}
	return s.Slug + ":" + s.Of
}

// Health turns the facts that parts report into conditions that somebody is shown: after
// the time that each must have lasted, and not while another one explains it. It has no
// goroutine: what the clock brings is seen by the next Report or Tick. Its methods may be
// called from any goroutine.
type Health struct {
	events *Events
	log    *slog.Logger

	mu    sync.Mutex
	known map[string]*condition // all that ever were, by key
	done  []Fault               // newest last
}

// condition is one that is or was.
type condition struct {
	Standing
	by    string // who reports it
	is    bool   // it is so
	ripe  time.Time
	shown bool
}

// NewHealth makes a Health that tells events and log of what it shows.
func NewHealth(events *Events, log *slog.Logger) *Health {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Health{events: events, log: log, known: map[string]*condition{}}
}

// Report gives all that is wrong according to by now: what it reported before and does not
// any more is over.
func (h *Health) Report(by string, facts ...Fact) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	still := map[*condition]bool{}
	for _, f := range facts {
		still[h.note(now, by, f)] = true
	}
	for _, c := range h.known {
		if c.by == by && !c.Stays && !still[c] {
			c.is = false
		}
	}
	h.look(now)
}

// Note says that something happened. A condition that Stays stands from now on; any other
// is told and does not stand.
func (h *Health) Note(f Fact) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	c := h.note(now, "", f)
	if !c.Stays {
		c.is = false
		c.Count++
		h.tell(now, c)
	}
	h.look(now)
}

// note takes a fact. h.mu is held.
func (h *Health) note(now time.Time, by string, f Fact) *condition {
	s := Standing{Condition: conditionOf(f.Slug), Of: f.Of}
	c := h.known[s.Key()]
	if c == nil {
		c = &condition{Standing: s}
		h.known[s.Key()] = c
	}
	if !c.is {
		c.is, c.Since, c.ripe = true, now, now.Add(c.Visible)
	}
	c.by, c.Cause, c.Do = by, h.events.clean(f.Cause), h.events.clean(cmp.Or(f.Do, c.Condition.Do))
	return c
}

// Tick looks at the clock: conditions that have lasted long enough are shown.
func (h *Health) Tick() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.look(time.Now())
}

// look shows and hides what has to be. h.mu is held.
func (h *Health) look(now time.Time) {
	is := map[string]bool{}
	for _, c := range h.known {
		is[c.Slug] = is[c.Slug] || c.is
	}
	var over, begun []*condition
	for _, c := range h.known {
		hidden := slices.ContainsFunc(c.Under, func(s string) bool { return is[s] })
		if c.is && hidden { // once nothing explains it any more it must last anew
			c.ripe = now.Add(c.Visible)
		}
		switch show := c.is && !hidden && !now.Before(c.ripe); {
		case c.shown && (!c.is || hidden):
			over = append(over, c)
		case show && !c.shown:
			begun = append(begun, c)
		}
	}
	order := func(a, b *condition) int { return strings.Compare(a.Key(), b.Key()) }
	slices.SortFunc(over, order)
	slices.SortFunc(begun, order)
	for _, c := range over {
		c.shown = false
		d := c.details("cleared")
		h.events.Publish(HealthEvent, append(d, Detail{"seconds", int(now.Sub(c.Since).Seconds())})...)
		h.log.Info("good again", "condition", c.Key())
	}
	for _, c := range begun {
		c.shown = true
		c.Count++
		h.events.Publish(HealthEvent, append(c.details("raised"), Detail{"cause", c.Cause}, Detail{"do", c.Do})...)
		h.tell(now, c)
	}
}

// details are what all health events have.
func (c *condition) details(state string) []Detail {
	d := []Detail{{"slug", c.Key()}, {"state", state}, {"severity", c.Severity.String()}}
	if code := c.Code(); code != 0 {
		d = append(d, Detail{"code", int(code)})
	}
	return append(d, Detail{"part", c.Part})
}

// tell says what has just begun: to listeners in TRTC's words, to the log, and to the list
// of errors. h.mu is held.
func (h *Health) tell(now time.Time, c *condition) {
	text := c.Text
	if c.Cause != "" {
		text += ": " + c.Cause
	}
	for _, code := range c.Codes {
		if code.Warning() {
			h.events.Publish(trtc.OnWarning, Detail{"warningCode", int(code)}, Detail{"warningMsg", text}, Detail{"extInfo", c.Key()})
		} else {
			h.events.Publish(trtc.OnError, Detail{"errCode", int(code)}, Detail{"errMsg", text}, Detail{"extInfo", c.Key()})
		}
	}
	level := map[Severity]slog.Level{SeverityWarning: slog.LevelWarn, SeverityError: slog.LevelError}[c.Severity]
	h.log.Log(context.Background(), level, c.Text, "condition", c.Key(), "cause", c.Cause, "do", c.Do)
	if c.Severity >= SeverityWarning {
		h.remember(now, c)
	}
}

// Standing gives what stands now, the worst first, of two as bad the older first.
func (h *Health) Standing() []Standing {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []Standing{}
	for _, c := range h.known {
		if c.shown {
			out = append(out, c.Standing)
		}
	}
	slices.SortFunc(out, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), a.Since.Compare(b.Since), strings.Compare(a.Key(), b.Key()))
	})
	return out
}

// Fault is an error or warning that began some time since the daemon did, whether it still
// stands or not.
type Fault struct {
	First, Last time.Time // when it began, the first and the last time
	Code        trtc.Code // 0: none of TRTC's
	Slug        string
	Severity    Severity
	Cause       string
	Count       int // times that it began, with this cause
}

// keptFaults is how many are remembered.
const keptFaults = 64

// remember adds to the list of errors. What is there with the same cause is moved to its
// end: a plug with a bad contact must not push all else out. h.mu is held.
func (h *Health) remember(now time.Time, c *condition) {
	f := Fault{First: now, Last: now, Code: c.Code(), Slug: c.Key(), Severity: c.Severity, Cause: c.Cause, Count: 1}
	if i := slices.IndexFunc(h.done, func(o Fault) bool { return o.Slug == f.Slug && o.Cause == f.Cause }); i >= 0 {
		f.First, f.Count = h.done[i].First, h.done[i].Count+1
		h.done = slices.Delete(h.done, i, i+1)
	}
	h.done = append(h.done, f)
	h.done = h.done[max(0, len(h.done)-keptFaults):]
}

// Faults gives the newest errors and warnings, the newest first.
func (h *Health) Faults() []Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Clone(h.done)
	slices.Reverse(out)
	return out
}

// ClearFaults forgets them, and what Stays until somebody has seen it. It gives how many
// were forgotten.
func (h *Health) ClearFaults() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.done)
	h.done = nil
	for _, c := range h.known {
		if c.Stays {
			c.is = false
		}
	}
	h.look(time.Now())
	return n
}
