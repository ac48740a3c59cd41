package device

import (
	"math"
	"sync"
	"time"

	"anchord/internal/media"
)

// Stages are the steps whose time is measured, in their order: from the first mark to
// the second.
var stages = [...]struct {
	name     string
	from, to media.Stage
}{
	{"capture", media.Captured, media.Arrived},
	{"convert", media.Arrived, media.Converted},
	{"wait", media.Converted, media.Taken},
	{"encode", media.Taken, media.Encoded},
	{"packetize", media.Encoded, media.Packetized},
	{"send", media.Packetized, media.Sent},
	{"total", media.Captured, media.Sent},
}

// Latency measures how long frames take, stage by stage. It allocates nothing.
type Latency struct {
	mu sync.Mutex
	h  [len(stages)]histogram
	// overhead is what is ours: from the driver's time stamp to the wire, less the encoder.
	overhead histogram
}

// Observe takes the marks of one sent picture.
func (l *Latency) Observe(m *media.Marks) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range stages {
		if m[s.from] != 0 && m[s.to] != 0 {
			l.h[i].add(m.Between(s.from, s.to))
		}
	}
	if m[media.Captured] != 0 && m[media.Sent] != 0 && m[media.Encoded] != 0 {
		l.overhead.add(m.Between(media.Captured, media.Sent) - m.Between(media.Taken, media.Encoded))
	}
}

// StageTime is the latency of one stage over all frames so far.
type StageTime struct {
	Stage         string
	Count         uint64
	P50, P95, Max time.Duration
}

// Stages gives the latencies: capture, convert, wait, encode, packetize, send, their
// total, and "overhead", which is the total less the time in the encoder.
func (l *Latency) Stages() []StageTime {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]StageTime, 0, len(stages)+1)
	for i, s := range stages {
		out = append(out, l.h[i].time(s.name))
	}
	return append(out, l.overhead.time("overhead"))
}

// edges is how many upper edges a Distribution has, from 64 µs to 2.1 s, an octave each.
const edges = 16

// Distribution is how often one stage took how long, over all frames so far.
type Distribution struct {
	Stage string
	Count uint64
	Sum   time.Duration
	// Upto counts the frames that took no longer than 64 µs, 128 µs, … (see Edge).
	Upto [edges]uint64
}

// Edge gives the i-th upper edge of a Distribution.
func (Distribution) Edge(i int) time.Duration { return 64 * time.Microsecond << i }

// Distributions gives the latencies of Stages as histograms with few and fixed edges.
func (l *Latency) Distributions() []Distribution {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Distribution, 0, len(stages)+1)
	for i, s := range stages {
		out = append(out, l.h[i].distribution(s.name))
	}
	return append(out, l.overhead.distribution("overhead"))
}

// Reset forgets all.
func (l *Latency) Reset() {
	l.mu.Lock()
	l.h, l.overhead = [len(stages)]histogram{}, histogram{}
	l.mu.Unlock()
}

// histogram counts durations in buckets that grow by an eighth of an octave (9 %),
// from 1 µs to over a minute.
type histogram struct {
	n     [8*26 + 1]uint64 // 32 bits are full after four years of 30 frames a second
	sum   uint64
	total time.Duration
	max   time.Duration
}

func (h *histogram) add(d time.Duration) {
	i := 0
	if d > time.Microsecond {
		i = min(1+int(8*math.Log2(float64(d)/1000)), len(h.n)-1)
	}
	h.n[i]++
	h.sum++
	h.total += max(d, 0)
	h.max = max(h.max, d)
}

// quantile gives the upper edge of the bucket in which the q-th part of all lies.
func (h *histogram) quantile(q float64) time.Duration {
	if h.sum == 0 {
		return 0
	}
	want, seen := uint64(math.Ceil(q*float64(h.sum))), uint64(0)
	for i, n := range h.n {
		if seen += n; seen >= want {
			return min(time.Duration(1000*math.Exp2(float64(i)/8)), h.max)
		}
	}
	return h.max
}

func (h *histogram) time(stage string) StageTime {
	return StageTime{stage, h.sum, h.quantile(.5), h.quantile(.95), h.max}
}

// distribution gathers the buckets: the edge 64 µs · 2^i is that of bucket 8·(6+i).
func (h *histogram) distribution(stage string) Distribution {
	d := Distribution{Stage: stage, Count: h.sum, Sum: h.total}
	seen, next := uint64(0), 0
	for i := range d.Upto {
		for ; next <= 8*(6+i); next++ {
			seen += h.n[next]
		}
		d.Upto[i] = seen
	}
	return d
}
