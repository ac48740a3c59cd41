package rtc

import (
	"sync/atomic"
	"time"

	"anchord/internal/media"
)

// Sending says how a track fares. Counts run over all sessions of the track; what
// receivers say is of the present session.
type Sending struct {
	Frames  uint64 // access units or blocks of sound that were sent
	Unsent  uint64 // … that were not, because nothing was connected or sending failed
	Packets uint64 // RTP packets sent, without those sent again
	Bytes   uint64 // of these, with RTP header and authentication tag
	Errors  uint64 // packets that pion refused
	Resent  uint64 // packets sent again for a NACK
	Missing uint64 // packets asked for that were sent again just now, or too old to have
	Keys    uint64 // key pictures asked for (PLI, FIR)

	Loss    float64       // share of packets lost in the receiver's last interval, 0…1
	Lost    int32         // packets lost as the receiver counts
	Jitter  time.Duration // interarrival jitter
	RTT     time.Duration // 0: not known
	REMB    uint64        // receiver's estimate in bits a second; 0: none
	Heard   media.Time    // the last RTCP about this track; 0: none yet
	Arrived media.Time    // the last report of packets that had not been reported before; 0: none yet
}

// feedback is what Sending is made of.
type feedback struct {
	frames, unsent, packets, bytes, errors, resent, missing, keys atomic.Uint64

	loss, lost, highest atomic.Uint32
	jitter, rtt         atomic.Int64
	remb                atomic.Uint64
	heard, arrived      atomic.Int64
}

func (f *feedback) reset() {
	f.loss.Store(0)
	f.lost.Store(0)
	f.highest.Store(0)
	f.jitter.Store(0)
	f.rtt.Store(0)
	f.remb.Store(0)
	f.heard.Store(0)
	f.arrived.Store(0)
}

// Sending gives the track's counters.
func (t *Track) Sending() Sending {
	f := &t.fb
	return Sending{
		Frames: f.frames.Load(), Unsent: f.unsent.Load(), Packets: f.packets.Load(), Bytes: f.bytes.Load(),
		Errors: f.errors.Load(), Resent: f.resent.Load(), Missing: f.missing.Load(), Keys: f.keys.Load(),
		Loss: float64(f.loss.Load()) / 256, Lost: int32(f.lost.Load()), Jitter: time.Duration(f.jitter.Load()),
		RTT: time.Duration(f.rtt.Load()), REMB: f.remb.Load(),
		Heard: media.Time(f.heard.Load()), Arrived: media.Time(f.arrived.Load()),
	}
}
