package v4l2

import (
	"time"

	v4l "github.com/vladimirvivien/go4vl/v4l2"

	"anchord/internal/media"
)

// far is how old a frame's time stamp may be. It is the bound GStreamer's v4l2src uses
// (https://gitlab.freedesktop.org/gstreamer/gstreamer/-/blob/main/subprojects/gst-plugins-good/sys/v4l2/gstv4l2src.c).
const far = 10 * time.Second

// mostGap is the longest gap in sequence numbers that is believed to be lost frames, and
// not a driver that began to count anew.
const mostGap = 10000

// clock follows one stream's time stamps and sequence numbers.
type clock struct {
	seen bool
	seq  uint32 // the driver's last number
	num  uint32 // the same made to rise

	lag  time.Duration // from a sane time stamp to the frame's arrival, lately
	last media.Time    // what was last given out
}

// number follows the driver's numbers: lost is how many frames are missing in front of
// this one, num a number that rises by one more than that. Some drivers number nothing,
// begin anew, or give a number twice (vivid does when it is late).
func (k *clock) number(seq uint32) (num uint32, lost uint64) {
	d := int32(seq - k.seq)
	switch {
	case !k.seen:
		k.num = seq
	case d <= 1 || d > mostGap:
		k.num++
	default:
		k.num += uint32(d)
		lost = uint64(d - 1)
	}
	k.seq, k.seen = seq, true
	return k.num, lost
}

// captured gives the time at which a frame that arrived at now was captured: the
// driver's time stamp if it is on our clock and makes sense, and else the arrival less
// the usual way. ok is false when a time stamp that should have made sense did not.
// What it gives always rises, at the pace of the frames: a driver whose clock went back is
// not believed before it has passed what was given out.
func (k *clock) captured(b *buffer, now media.Time) (t media.Time, ok bool) {
	t, ok = media.Time(b.timestamp.Nano()), true
	switch {
	case b.flags&v4l.BufFlagTimestampMask != v4l.BufFlagTimestampMonotonic:
		t = now.Add(-k.lag)
	case t <= 0 || t > now || now.Sub(t) > far:
		t, ok = now.Add(-k.lag), false
	case t <= k.last:
		t, ok = now.Add(-k.lag), false
	default:
		k.lag = now.Sub(t)
	}
	k.last = max(t, k.last+1)
	return k.last, ok
}
