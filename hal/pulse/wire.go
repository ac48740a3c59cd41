package pulse

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jfreymuth/pulse/proto"

	"anchord/internal/media"
)

// A frame is a header of 20 bytes (length, channel, offset, flags) and its payload
// (PulseAudio's pstream.c). A channel of all ones carries commands, others sound.
const (
	headerSize = 20
	commands   = 0xFFFFFFFF
	shmFlags   = 0xFF000000 // payloads in shared memory, which we never agree to
	tagSize    = 10         // 'L' operation 'L' tag, in front of each command
	maxCommand = 1 << 20    // PulseAudio allows 16 MiB; a list of 100 sources has 300 kB
	maxSound   = 1 << 20
)

// writeTime is how long the server may leave a request in its socket.
const writeTime = time.Second

// wire is what proto.Client reads and writes. It passes whole commands that were checked
// against the type which proto decodes them into: proto's decoder panics, runs in
// circles or takes any amount of memory for others, on a goroutine where nobody could
// catch it. Commands that nobody here wants are dropped, as proto prints them to standard
// output. Sound does not reach proto at all, which would allocate for each block.
//
// Each error ends the stream as io.EOF: it is the only one that proto tells its callback.
type wire struct {
	nc   net.Conn
	r    *bufio.Reader
	on   hooks
	in   []byte // the rest of a command that proto has not read yet
	room []byte // in's memory
	out  []byte // a frame that proto has not written completely

	version atomic.Uint32 // 0 until agreed; only replies pass before

	mu    sync.Mutex
	asked map[uint32]uint32 // tag to operation of requests without a reply
	err   error             // why it ended
}

// hooks are called on the reading goroutine: they must not block, nor make requests.
type hooks struct {
	message func(any)                     // one of the types in messages
	sound   func([]byte, media.Time)      // lent; when its frame began to arrive
	reply   func(op uint32, _ media.Time) // before proto sees it
	closed  func(error)                   // last call, of a connection that dial gave out
}

// replies says how proto decodes the replies of the requests that we make.
var replies = map[uint32]reflect.Type{
	proto.OpAuth:                reflect.TypeFor[proto.AuthReply](),
	proto.OpSetClientName:       reflect.TypeFor[proto.SetClientNameReply](),
	proto.OpGetServerInfo:       reflect.TypeFor[proto.GetServerInfoReply](),
	proto.OpGetSourceInfo:       reflect.TypeFor[proto.GetSourceInfoReply](),
	proto.OpGetSourceInfoList:   reflect.TypeFor[proto.GetSourceInfoListReply](),
	proto.OpGetSourceOutputInfo: reflect.TypeFor[proto.GetSourceOutputInfoReply](),
	proto.OpCreateRecordStream:  reflect.TypeFor[proto.CreateRecordStreamReply](),
	proto.OpGetRecordLatency:    reflect.TypeFor[proto.GetRecordLatencyReply](),
	proto.OpSubscribe:           nil, // nothing is decoded
	proto.OpSetSourceVolume:     nil,
}

// messages are what a server says unasked and we want to hear.
var messages = map[uint32]reflect.Type{
	proto.OpRecordStreamKilled:    reflect.TypeFor[proto.RecordStreamKilled](),
	proto.OpRecordStreamMoved:     reflect.TypeFor[proto.RecordStreamMoved](),
	proto.OpRecordStreamSuspended: reflect.TypeFor[proto.RecordStreamSuspended](),
	proto.OpSubscribeEvent:        reflect.TypeFor[proto.SubscribeEvent](),
}

func newWire(nc net.Conn, on hooks) *wire {
	return &wire{nc: nc, r: bufio.NewReaderSize(nc, 16<<10), on: on, asked: make(map[uint32]uint32)}
}

// Read gives the next checked bytes of commands.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.in) == 0 {
		if err := w.next(); err != nil {
			w.fail(err)
			return 0, io.EOF
		}
	}
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

// next reads one frame; in stays empty when it was not for proto.
func (w *wire) next() error {
	h, err := w.r.Peek(headerSize)
	if err != nil {
		return err
	}
	now := media.Now()
	n, channel, flags := binary.BigEndian.Uint32(h), binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[16:])
	if flags&shmFlags != 0 {
		return errors.New("sound server speaks another protocol: shared memory without agreement")
	}
	if channel != commands {
		return w.sound(n, now)
	}
	if n < tagSize || n > maxCommand {
		return fmt.Errorf("sound server speaks another protocol: command of %d bytes", n)
	}
	if cap(w.room) < int(headerSize+n) {
		w.room = make([]byte, headerSize+n)
	}
	b := w.room[:headerSize+n]
	if _, err := io.ReadFull(w.r, b); err != nil {
		return err
	}
	return w.command(b, now)
}

func (w *wire) sound(n uint32, now media.Time) error {
	if n > maxSound {
		return fmt.Errorf("sound server speaks another protocol: block of %d bytes", n)
	}
	if _, err := w.r.Discard(headerSize); err != nil {
		return err
	}
	for n > 0 {
		if _, err := w.r.Peek(1); err != nil {
			return err
		}
		b, err := w.r.Peek(min(int(n), w.r.Buffered()))
		if err != nil {
			return err
		}
		if w.on.sound != nil {
			w.on.sound(b, now)
		}
		n -= uint32(len(b))
		if _, err := w.r.Discard(len(b)); err != nil {
			return err
		}
	}
	return nil
}

// command checks the frame b and makes it in, without what proto would not read.
func (w *wire) command(b []byte, now media.Time) error {
	p := b[headerSize:]
	if p[0] != 'L' || p[5] != 'L' {
		return errors.New("sound server speaks another protocol: command without a tag")
	}
	op, tag, body := binary.BigEndian.Uint32(p[1:]), binary.BigEndian.Uint32(p[6:]), p[tagSize:]
	used := 0
	switch op {
	case proto.OpError, proto.OpReply:
		w.mu.Lock()
		asked, ok := w.asked[tag]
		delete(w.asked, tag)
		w.mu.Unlock()
		if !ok {
			return nil // nobody waits
		}
		if op == proto.OpError {
			if used = 5; len(body) < used || body[0] != 'L' {
				return errors.New("sound server speaks another protocol: error without a code")
			}
			break
		}
		t, known := replies[asked]
		if !known {
			return fmt.Errorf("sound server speaks another protocol: reply to operation %d", asked)
		}
		if t != nil {
			var err error
			if used, err = check(t, w.checkVersion(), body); err != nil {
				return fmt.Errorf("sound server speaks another protocol: reply to operation %d: %w", asked, err)
			}
		}
		if w.on.reply != nil {
			w.on.reply(asked, now)
		}
	default:
		t, known := messages[op]
		if !known || w.version.Load() == 0 {
			return nil
		}
		var err error
		if used, err = check(t, w.checkVersion(), body); err != nil {
			return fmt.Errorf("sound server speaks another protocol: message %d: %w", op, err)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(tagSize+used))
	w.in = b[:headerSize+tagSize+used]
	return nil
}

// checkVersion is the protocol version that proto decodes by now.
func (w *wire) checkVersion() int {
	if v := w.version.Load(); v != 0 {
		return int(v)
	}
	return ourVersion
}

// Write takes frames in any pieces and sends each with one call. proto does not look at
// the error; the connection is closed, so that the reading side tells.
func (w *wire) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	for len(w.out) >= headerSize {
		n := headerSize + int(binary.BigEndian.Uint32(w.out))
		if len(w.out) < n {
			break
		}
		b := w.out[:n]
		if n >= headerSize+tagSize {
			w.mu.Lock()
			w.asked[binary.BigEndian.Uint32(b[headerSize+6:])] = binary.BigEndian.Uint32(b[headerSize+1:])
			w.mu.Unlock()
		}
		err := w.nc.SetWriteDeadline(time.Now().Add(writeTime))
		if err == nil {
			_, err = w.nc.Write(b)
		}
		if err != nil {
			w.fail(err)
			w.nc.Close()
			w.out = w.out[:0]
			return 0, err
		}
		w.out = append(w.out[:0], w.out[n:]...)
	}
	return len(p), nil
}

// fail notes the first reason.
func (w *wire) fail(err error) {
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.mu.Unlock()
}

func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
