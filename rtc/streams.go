package rtc

import (
	"io"
	"sync/atomic"

	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"
)

// maxStreams is how many streams, RTP and RTCP each, a peer may make before it is taken for
// a flood. A browser's anchor has four, and two for probing.
const maxStreams = 32

// BoundStreams bounds what the other side of a connection can make pion keep: for every
// SSRC that it names, pion has a buffer, which by default takes a megabyte and stays till
// the end. flood is called once, on a goroutine of pion's that holds locks: it must only
// pass on that the connection has to be closed. size is in bytes, of one stream's packets
// that nobody has read. The settings are for one connection.
func BoundStreams(set *webrtc.SettingEngine, size int, flood func()) {
	var streams atomic.Int32
	set.BufferFactory = func(packetio.BufferPacketType, uint32) io.ReadWriteCloser {
		b := buffer{packetio.NewBuffer()}
		b.SetLimitSize(size)
		if n := streams.Add(1); n > maxStreams {
			b.SetLimitCount(1)
			if n == maxStreams+1 {
				flood()
			}
		}
		return b
	}
}

// buffer is pion's own as pion's srtp package wraps it.
type buffer struct{ *packetio.Buffer }

func (b buffer) Read(p []byte) (int, error) {
	n, _, err := b.Buffer.Read(p, nil)
	return n, err
}

func (b buffer) Write(p []byte) (int, error) { return b.Buffer.Write(p, nil) }

// ReadWithAttributes is what srtp looks for.
func (b buffer) ReadWithAttributes(p []byte, a packetio.Attributes) (int, packetio.Attributes, error) {
	return b.Buffer.Read(p, a)
}

// WriteWithAttributes is what srtp looks for.
func (b buffer) WriteWithAttributes(p []byte, a packetio.Attributes) (int, error) {
	return b.Buffer.Write(p, a)
}
