package media

import "time"

// Time is an instant on the kernel's CLOCK_MONOTONIC in nanoseconds, the clock
// that V4L2 stamps buffers with (V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
// https://docs.kernel.org/userspace-api/media/v4l/buffer.html). Sound and picture
// are compared on it. The zero Time means "not known".
type Time int64

// Sub gives t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Add gives t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Stage is a step on the way of one frame. Each has a Mark in Marks.
type Stage int

// The stages in the order in which a frame passes them.
const (
	Captured   Stage = iota // light (or sound) reached the device: the driver's time stamp
	Arrived                 // our process has the buffer
	Converted               // upright and in the encoder's pixel format
	Taken                   // the encoder took it out of its mailbox
	Encoded                 // the coded picture is there
	Packetized              // its RTP packets are built
	Sent                    // the kernel has the last of them
	Stages                  // how many there are
)

// Marks are the times at which one frame passed each stage; zero where it has not
// been. The latency of any part is a subtraction.
type Marks [Stages]Time

// Between gives the time from stage a to stage b, or 0 when either is not known.
func (m *Marks) Between(a, b Stage) time.Duration {
	if m[a] == 0 || m[b] == 0 {
		return 0
	}
	return m[b].Sub(m[a])
}
