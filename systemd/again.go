package systemd

import (
	"hash/maphash"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// entry is one line.
type entry struct {
	level slog.Level
	part  string
	line  string // without its end
}

// body gives the line without its time.
func (e entry) body() string {
	if strings.HasPrefix(e.line, slog.TimeKey+"=") {
		return e.line[strings.IndexByte(e.line, ' ')+1:]
	}
	return e.line
}

// again1 is how long a line that comes again is only counted.
const again1 = time.Second

// mostAgain bounds how many lines are watched for coming again; more are just written.
const mostAgain = 64

// again counts lines that come again.
type again struct {
	seed maphash.Seed
	seen map[uint64]*repeated
	next time.Time // when the first of them is due
}

type repeated struct {
	entry
	until time.Time // from when on it is said
	n     int       // times since it was said
}

// swallows tells whether a line was said within the last second, and counts it then.
func (a *again) swallows(now time.Time, e entry) bool {
	if a.seed == (maphash.Seed{}) {
		a.seed = maphash.MakeSeed()
	}
	k := maphash.String(a.seed, e.body())
	if r := a.seen[k]; r != nil {
		r.n++
		return true
	}
	if len(a.seen) < mostAgain {
		a.seen[k] = &repeated{entry: e, until: now.Add(again1)}
		if len(a.seen) == 1 || now.Add(again1).Before(a.next) {
			a.next = now.Add(again1)
		}
	}
	return false
}

// due gives the counts that are due at now, and forgets what did not come again. They are
// said at the time at.
func (a *again) due(now, at time.Time) (out []entry) {
	if len(a.seen) == 0 || now.Before(a.next) {
		return nil
	}
	var said []*repeated
	first := true
	for k, r := range a.seen {
		if !now.Before(r.until) {
			if r.n == 0 {
				delete(a.seen, k)
				continue
			}
			said = append(said, &repeated{entry: r.entry, until: r.until, n: r.n})
			r.n, r.until = 0, now.Add(again1)
		}
		if first || r.until.Before(a.next) {
			a.next, first = r.until, false
		}
	}
	slices.SortFunc(said, func(x, y *repeated) int { return x.until.Compare(y.until) })
	for _, r := range said {
		e := r.entry
		e.line = stamp(at) + r.body() + " repeated=" + strconv.Itoa(r.n)
		out = append(out, e)
	}
	return out
}

// stamp gives the time as slog's text has it.
func stamp(t time.Time) string {
	return slog.TimeKey + "=" + t.Format("2006-01-02T15:04:05.000Z07:00") + " "
}

// counts tells whether something came again that was not said yet.
func (a *again) counts() bool {
	for _, r := range a.seen {
		if r.n > 0 {
			return true
		}
	}
	return false
}

// ring keeps the newest entries.
type ring struct {
	kept []entry
	next int
}

func newRing(n int) ring { return ring{kept: make([]entry, 0, n)} }

func (r *ring) keep(e entry) {
	if len(r.kept) < cap(r.kept) {
		r.kept = append(r.kept, e)
		return
	}
	r.kept[r.next] = e
	r.next = (r.next + 1) % len(r.kept)
}

// newest gives the newest n of the level and the part, oldest first.
func (r *ring) newest(n int, least slog.Level, part string) []entry {
	var out []entry
	for i := len(r.kept) - 1; i >= 0 && len(out) < n; i-- {
		e := r.kept[(r.next+i)%len(r.kept)]
		if e.level >= least && (part == "" || e.part == part) {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}
