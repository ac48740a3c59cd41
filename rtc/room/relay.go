package room

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// relay carries one medium of one anchor to its viewers. It outlives the anchor's sessions:
// sources come and go, the viewers' sinks stay.
type relay struct {
	video bool
	sinks atomic.Pointer[[]*sink]                                    // replaced, never changed in place
	src   atomic.Pointer[source]                                     // what is forwarded now
	want  atomic.Bool                                                // somebody needs a key frame
	epoch time.Time                                                  // what heard counts from
	heard atomic.Int64                                               // when the last packet came, on the clock that nobody sets; 0: never
	loud  func(level byte)                                           // audio level of a packet, as on the wire; nil for video
	mu    sync.Mutex                                                 // for what follows, and for replacing sinks
	asked time.Time                                                  // the last key frame request
	ages  uint64                                                     // of the youngest source
	done  struct{ plis, resent, packets, bytes, lost atomic.Uint64 } // of this and earlier sources
}

// source is one RTP stream of one session of an anchor.
type source struct {
	relay   *relay
	session *session
	age     uint64 // counts up from source to source
	ssrc    uint32
	ext     byte  // id of the header extension that is carried on
	ring    *ring // nil for audio

	first   bool
	highest uint16

	mu      sync.Mutex
	reports [2]moment // the last two sender reports, older first
	known   int       // how many of them are there
}

// moment is a sender report's pair of times: the same moment on the local wall clock (NTP
// format) and on the source's RTP clock.
type moment struct {
	ntp uint64
	rtp uint32
}

func (r *relay) rate() uint32 {
	if r.video {
		return 90000
	}
	return 48000
}

func (r *relay) all() []*sink {
	if p := r.sinks.Load(); p != nil {
		return *p
	}
	return nil
}

func (r *relay) add(k *sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := append(slices.Clone(r.all()), k)
	r.sinks.Store(&next)
}

func (r *relay) remove(k *sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(r.all()), func(o *sink) bool { return o == k })
	r.sinks.Store(&next)
}

// start makes src what is forwarded.
func (r *relay) start(src *source) {
	r.mu.Lock()
	r.ages++
	src.age = r.ages
	r.asked = time.Time{} // another sender: the pause since the last request does not count
	r.src.Store(src)
	r.mu.Unlock()
	if r.video && r.awaited() {
		r.needKey(time.Now())
	}
}

// awaited says whether somebody is connected who takes what is forwarded.
func (r *relay) awaited() bool { return slices.ContainsFunc(r.all(), (*sink).isReady) }

// hear notes that a packet came.
func (r *relay) hear(at time.Time) { r.heard.Store(max(1, int64(at.Sub(r.epoch)))) }

// last is when the last packet came, the zero Time if none ever did. It can be compared across
// a step of the wall clock, which a box without a battery makes once after each start.
func (r *relay) last() time.Time {
	n := r.heard.Load()
	if n == 0 {
		return time.Time{}
	}
	return r.epoch.Add(time.Duration(n))
}

// stop ends src if it is what is forwarded.
func (r *relay) stop(src *source) { r.src.CompareAndSwap(src, nil) }

// forward passes a packet to every viewer. It is called by one goroutine a source.
func (r *relay) forward(src *source, p *packet) {
	if r.src.Load() != src {
		return // a newer session took over
	}
	src.count(p)
	if src.ring != nil {
		src.ring.put(p)
	}
	if r.loud != nil && p.hasLoud {
		r.loud(p.loud)
	}
	if p.key && r.video {
		r.want.Store(false)
	}
	waiting := false
	for _, k := range r.all() {
		if !k.write(src, p) {
			waiting = true
		}
	}
	if waiting && r.video {
		r.want.Store(true)
	}
	if r.want.Load() {
		r.askKey(p.at)
	}
}

// needKey asks the anchor for a key frame: now, or when the pause after the last request is
// over.
func (r *relay) needKey(now time.Time) {
	r.want.Store(true)
	r.askKey(now)
}

// expectKey gives an anchor that is about to make a key frame unasked the time for it.
func (r *relay) expectKey(now time.Time) {
	r.want.Store(true)
	r.mu.Lock()
	r.asked = now
	r.mu.Unlock()
}

// askKey sends the request that is due, if any. A source that sends nothing is asked less often:
// its camera may be off. Where nobody is left who needs one nothing is asked for: an anchor may
// take a request for a sign that it is watched.
func (r *relay) askKey(now time.Time) {
	src := r.src.Load()
	if src == nil || !r.want.Load() || !r.awaited() {
		return
	}
	pause := keyEvery
	if now.Sub(r.last()) > lostAfter {
		pause = lostAfter
	}
	r.mu.Lock()
	if now.Sub(r.asked) < pause {
		r.mu.Unlock()
		return
	}
	r.asked = now
	r.mu.Unlock()
	if src.session.send(&rtcp.PictureLossIndication{MediaSSRC: src.ssrc}) == nil {
		r.done.plis.Add(1)
	}
}

// resend answers a viewer's NACK for one packet of its own numbering.
func (r *relay) resend(k *sink, seq uint16, scratch []byte) {
	src, orig, ok := k.original(seq)
	if !ok || src.ring == nil {
		return
	}
	var p packet
	if src.ring.get(orig, &p, scratch) && k.again(src, &p) {
		r.done.resent.Add(1)
	}
}

// count keeps the statistics of the anchor's leg.
func (src *source) count(p *packet) {
	done := &src.relay.done
	src.relay.hear(p.at)
	done.packets.Add(1)
	done.bytes.Add(uint64(len(p.payload)))
	if !src.first {
		src.first, src.highest = true, p.seq
		return
	}
	switch d := int16(p.seq - src.highest); {
	case d > 0:
		src.highest = p.seq
		done.lost.Add(uint64(d - 1))
	case d > -ringSize && done.lost.Load() > 0:
		done.lost.Add(^uint64(0)) // it came late or was sent again
	}
}

// read forwards the track until it ends.
func (src *source) read(track *webrtc.TrackRemote) {
	buf := make([]byte, maxPacket+100)
	var p packet
	for bad := 0; bad < 1000; {
		n, _, err := track.Read(buf)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || src.session.isOver() {
				return
			}
			bad++ // such as a packet of a payload type that was not agreed on
			continue
		}
		if !p.parse(buf[:n], src.ext, src.relay.video) {
			continue
		}
		bad = 0
		p.at = time.Now()
		src.relay.forward(src, &p)
	}
}

// readReports takes the anchor's sender reports until the receiver is stopped.
func (src *source) readReports(receiver *webrtc.RTPReceiver) {
	buf := make([]byte, maxPacket)
	for {
		n, _, err := receiver.Read(buf)
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		for _, p := range packets {
			if sr, ok := p.(*rtcp.SenderReport); ok && sr.SSRC == src.ssrc {
				src.report(sr.NTPTime, sr.RTPTime, time.Now())
			}
		}
	}
}

// report passes on what the anchor says about its clocks, so that viewers play picture and
// sound of the same moment together.
func (src *source) report(ntp uint64, rtp uint32, now time.Time) {
	r := moment{ntp: src.session.clock.local(ntp, now), rtp: rtp}
	src.mu.Lock()
	src.reports[0], src.reports[1] = src.reports[1], r
	src.known = min(src.known+1, 2)
	src.mu.Unlock()
	for _, k := range src.relay.all() {
		k.report(src, r)
	}
}

// pastReports gives the reports that a newcomer missed, the oldest first. A receiver needs two
// to know how the clocks run.
func (src *source) pastReports() []moment {
	src.mu.Lock()
	defer src.mu.Unlock()
	return slices.Clone(src.reports[2-src.known:])
}

// clock maps a sender's wall clock to ours by adding a constant, the same for its picture and
// its sound. Only when the sender's clock is set does the constant change.
type clock struct {
	mu          sync.Mutex
	set         bool
	delta       uint64 // to be added, modulo 2^64
	lastNTP     uint64
	lastArrival time.Time
}

// clockStep is the least difference that is a step of the sender's clock and not a late packet.
const clockStep = time.Second

func (c *clock) local(ntp uint64, now time.Time) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set {
		passed := ntpDuration(int64(ntp - c.lastNTP))
		if d := passed - now.Sub(c.lastArrival); d > clockStep || d < -clockStep {
			c.set = false
		}
	}
	if !c.set {
		c.set, c.delta = true, toNTP(now)-ntp
	}
	c.lastNTP, c.lastArrival = ntp, now
	return ntp + c.delta
}

// ntpEpoch is 1970 in seconds since 1900 (RFC 5905).
const ntpEpoch = 2208988800

func toNTP(t time.Time) uint64 {
	ns := uint64(t.UnixNano())
	return (ns/1e9+ntpEpoch)<<32 | (ns%1e9)<<32/1e9
}

func ntpDuration(d int64) time.Duration {
	return time.Duration(d>>32)*time.Second + time.Duration((d&0xffffffff)*1e9>>32)
}
