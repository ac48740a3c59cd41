package worker

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"
)

// What a worker may say: this many lines at once, and this many a second in the long run.
const (
	linesAtOnce = 20
	linesEach   = 200 * time.Millisecond
	lineLength  = 400 // bytes; the rest is left out
)

// relay takes what a worker says to the log, line by line, until it ends. A worker that
// says too much is not heard; how much it was is said with the next line that is.
func relay(words io.Reader, log *slog.Logger) {
	r := bufio.NewReaderSize(words, lineLength)
	b := bucket{left: linesAtOnce}
	unheard := 0
	for {
		line, err := r.ReadSlice('\n')
		s := plain(line)
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line
			_, err = r.ReadSlice('\n')
		}
		if s != "" {
			switch {
			case !b.take(time.Now()):
				unheard++
			case unheard > 0:
				log.Info("worker says", "line", s, "unheard", unheard)
				unheard = 0
			default:
				log.Info("worker says", "line", s)
			}
		}
		if err != nil {
			break
		}
	}
	if unheard > 0 {
		log.Info("worker said too much", "unheard", unheard)
	}
}

// plain makes a line fit for a log.
func plain(line []byte) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\uFFFD' {
			return ' '
		}
		return c
	}, string(line)))
}

// bucket holds permissions: so many at first, and one more each linesEach.
type bucket struct {
	left int
	last time.Time
}

func (b *bucket) take(now time.Time) bool {
	if b.last.IsZero() {
		b.last = now
	}
	if n := int(now.Sub(b.last) / linesEach); n > 0 {
		b.left = min(b.left+n, linesAtOnce)
		b.last = b.last.Add(time.Duration(n) * linesEach)
	}
	if b.left == 0 {
		return false
	}
	b.left--
	return true
}
