package pulse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jfreymuth/pulse/proto"

	"anchord/hal"
	"anchord/internal/media"
)

// frame makes a frame of the protocol.
func frame(channel, flags uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, channel)
	b = append(b, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint32(b, flags)
	return append(b, payload...)
}

// command makes a frame with a command.
func command(op, tag uint32, body ...byte) []byte {
	b := append([]byte{'L'}, binary.BigEndian.AppendUint32(nil, op)...)
	b = append(append(b, 'L'), binary.BigEndian.AppendUint32(nil, tag)...)
	return frame(commands, 0, append(b, body...))
}

func u32(v uint32) []byte { return append([]byte{'L'}, binary.BigEndian.AppendUint32(nil, v)...) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// fake is a server that answers each operation with a fixed body, and is silent to others.
type fake struct {
	answers map[uint32][]byte
	after   map[uint32][]byte // raw bytes behind the answer
}

// serve listens until the test ends and gives the address.
func (f fake) serve(t *testing.T) string {
	t.Helper()
	return listen(t, func(c net.Conn) {
		for {
			h := make([]byte, headerSize)
			if _, err := io.ReadFull(c, h); err != nil {
				return
			}
			b := make([]byte, binary.BigEndian.Uint32(h))
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			op, tag := binary.BigEndian.Uint32(b[1:]), binary.BigEndian.Uint32(b[6:])
			if a, ok := f.answers[op]; ok {
				if _, err := c.Write(join(command(proto.OpReply, tag, a...), f.after[op])); err != nil {
					return
				}
			}
		}
	})
}

// listen lets serve have each connection until the test ends.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range all {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return at
}

func auth(version uint32) []byte { return u32(version) }

// greeted is what a server says to everybody.
func greeted() fake {
	return fake{answers: map[uint32][]byte{proto.OpAuth: auth(35), proto.OpSetClientName: u32(7)}, after: map[uint32][]byte{}}
}

func TestBadServersGiveOneError(t *testing.T) {
	t.Parallel()
	hangUp := func(c net.Conn) { c.Close() }
	say := func(b []byte) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Write(b) // the other side may have hung up
			_, _ = io.Copy(io.Discard, c)
		}
	}
	with := func(op uint32, body ...[]byte) string {
		f := greeted()
		f.answers[op] = join(body...)
		return f.serve(t)
	}
	props := func(b ...byte) []byte { return append([]byte{'P'}, b...) }
	for name, at := range map[string]string{
		"hangs up":          listen(t, hangUp),
		"never answers":     listen(t, say(nil)),
		"HTTP":              listen(t, say([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))),
		"zeros":             listen(t, say(make([]byte, 1<<16))),
		"ones":              listen(t, say(bytes.Repeat([]byte{0xff}, 1<<16))),
		"endless":           listen(t, say(frame(commands, 0, make([]byte, 1<<17)))),
		"huge command":      listen(t, say([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})),
		"huge sound":        listen(t, say([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})),
		"shared memory":     listen(t, say(frame(commands, 0x80000000, make([]byte, 20)))),
		"short command":     listen(t, say(frame(commands, 0, []byte("L")))),
		"untagged":          listen(t, say(frame(commands, 0, make([]byte, 10)))),
		"error, no code":    listen(t, say(command(proto.OpError, 0))),
		"string for number": listen(t, say(command(proto.OpReply, 0, 't', 'x', 0))),
		"nothing":           listen(t, say(command(proto.OpReply, 0))),
		"cut":               listen(t, say(command(proto.OpReply, 0, 'L', 0))),
		"too old":           fake{answers: map[uint32][]byte{proto.OpAuth: auth(12)}}.serve(t),
		"strange version":   fake{answers: map[uint32][]byte{proto.OpAuth: auth(0)}}.serve(t),
		"bad name":          with(proto.OpSetClientName, []byte{'P', 'N'}),
		"deaf later":        greeted().serve(t),
		"bad info":          with(proto.OpGetServerInfo, []byte{'t', 'x'}),
		"long string":       with(proto.OpGetServerInfo, []byte("t"+strings.Repeat("x", 5000)+"\x00")),
		"no end of string":  with(proto.OpGetServerInfo, []byte("t"+strings.Repeat("x", 500))),
		"bad properties":    with(proto.OpGetServerInfo, props('t')),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			_, err := New(Config{Server: at}).List(t.Context())
			if !errors.Is(err, hal.ErrGone) && !errors.Is(err, hal.ErrUnsupported) {
				t.Errorf("got %v", err)
			}
			if d := time.Since(begun); d > 4*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestWireTellsWhatItHears(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	var got []string
	var sound bytes.Buffer
	w := newWire(here, hooks{
		sound: func(b []byte, _ media.Time) { sound.Write(b) },
		reply: func(op uint32, _ media.Time) { got = append(got, "reply") },
	})
	done := make(chan struct{})
	var c proto.Client
	c.SetTimeout(time.Second)
	c.Callback = func(m any) {
		got = append(got, reflect.TypeOf(m).Elem().Name())
		if _, last := m.(*proto.ConnectionClosed); last {
			close(done)
		}
	}
	w.version.Store(ourVersion)
	w.asked[9] = proto.OpGetRecordLatency
	c.Open(w)
	long := make([]byte, 50000)
	for i := range long {
		long[i] = byte(i)
	}
	for _, b := range [][]byte{
		frame(3, 0, long),
		command(95, 0xffffffff, 'x'),          // RecordBufferAttrChanged: proto would print it
		command(proto.OpReply, 77, u32(1)...), // to nobody
		command(proto.OpRequest, 0, 1, 2, 3),  // not for recording
		command(proto.OpRecordStreamKilled, 0xffffffff, append(u32(3), "later versions say more"...)...),
		command(proto.OpSubscribeEvent, 0xffffffff, append(u32(0x21), u32(4)...)...),
		frame(3, 0, nil),
		frame(3, 0, []byte{1, 2}),
		command(proto.OpRecordStreamSuspended, 0xffffffff, append(u32(3), '1')...),
	} {
		if _, err := there.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	there.Close()
	<-done
	if s := strings.Join(got, " "); s != "RecordStreamKilled SubscribeEvent RecordStreamSuspended ConnectionClosed" {
		t.Errorf("heard %s", s)
	}
	if !bytes.Equal(sound.Bytes(), append(long, 1, 2)) {
		t.Errorf("%d bytes of sound", sound.Len())
	}
}

func TestMovedStreamEnds(t *testing.T) {
	for name, say := range map[string]any{
		"moved":   &proto.RecordStreamMoved{StreamIndex: 3, DestIndex: 5, DestName: "other"},
		"renamed": &proto.RecordStreamMoved{StreamIndex: 3, DestIndex: 4, DestName: "other"},
		"killed":  &proto.RecordStreamKilled{StreamIndex: 3},
		"removed": &proto.SubscribeEvent{Event: proto.EventSource | proto.EventRemove, Index: 4},
		"ended":   &proto.SubscribeEvent{Event: proto.EventSinkSourceOutput | proto.EventRemove, Index: 6},
	} {
		m := newMic("mic", nil)
		m.source, m.stream, m.output = 4, 3, 6
		m.sink.prepare(1)
		m.sink.clock.step(0, media.Now())
		m.sink.set, m.sink.holding = true, false
		m.sink.sound(make([]byte, 1920), media.Now())
		for _, other := range []any{
			&proto.RecordStreamMoved{StreamIndex: 9}, &proto.RecordStreamKilled{StreamIndex: 9},
			&proto.RecordStreamMoved{StreamIndex: 3, DestIndex: 4, DestName: "mic"},
			&proto.SubscribeEvent{Event: proto.EventSource | proto.EventRemove, Index: 9},
			&proto.SubscribeEvent{Event: proto.EventSource | proto.EventChange, Index: 4},
		} {
			m.message(other)
		}
		select {
		case <-m.ended:
			t.Fatalf("%s: ended by another stream: %v", name, m.err)
		default:
		}
		m.message(say)
		if !errors.Is(m.err, hal.ErrGone) {
			t.Errorf("%s: %v", name, m.err)
		}
		m.sink.sound(make([]byte, 1920), media.Now())
		if n := len(m.sink.blocks); n != 1 {
			t.Errorf("%s: %d blocks", name, n)
		}
		m.sink.clear()
		if m.sink.pool.Out() != 0 {
			t.Errorf("%s: %d blocks are lost", name, m.sink.pool.Out())
		}
	}
}

// replyTo makes a random reply of type t that is well formed.
func replyTo(r *rand.Rand, t reflect.Type, version int) []byte {
	var b []byte
	str := func() []byte { return append(bytes.Repeat([]byte("s"), r.IntN(20)), 0) }
	for i := range t.NumField() {
		f := t.Field(i)
		if skipped(string(f.Tag), version) {
			continue
		}
		switch k := f.Type.Kind(); {
		case k == reflect.String:
			b = join(b, []byte{'t'}, str())
		case k == reflect.Bool:
			b = append(b, '0'+byte(r.IntN(2)))
		case k == reflect.Uint64:
			b = join(b, []byte{'U'}, make([]byte, 8))
		case k == reflect.Int64:
			b = join(b, []byte{'r'}, make([]byte, 8))
		case k == reflect.Uint32:
			b = join(b, u32(r.Uint32()))
		case k == reflect.Uint8:
			b = append(b, 'B', 1)
		case f.Type == reflect.TypeFor[proto.SampleSpec]():
			b = append(b, 'a', 3, 1, 0, 0, 0xbb, 0x80)
		case f.Type == reflect.TypeFor[proto.Time]():
			b = join(b, []byte{'T'}, make([]byte, 8))
		case f.Type == reflect.TypeFor[proto.FormatInfo]():
			b = append(b, 'f', 'B', 1, 'P', 'N')
		case f.Type == reflect.TypeFor[[]proto.FormatInfo]():
			b = append(b, 'B', 1, 'f', 'B', 1, 'P', 'N')
		case k == reflect.Map:
			b = join(b, []byte("Ptkey\x00L\x00\x00\x00\x02x\x00\x00\x00\x02v\x00N"))
		case k == reflect.Slice && f.Type.Elem().Kind() == reflect.Uint8:
			b = append(b, 'm', 1, 0)
		case k == reflect.Slice && f.Type.Elem().Kind() == reflect.Uint32:
			b = append(b, 'v', 1, 0, 1, 0, 0)
		case k == reflect.Slice:
			b = join(b, u32(2), replyTo(r, f.Type.Elem(), version), replyTo(r, f.Type.Elem(), version))
		default:
			panic(f.Type.String())
		}
	}
	return b
}

// wellFormed makes a reply or message of each type that check knows.
func wellFormed(version int) map[reflect.Type][]byte {
	r := rand.New(rand.NewPCG(1, 1))
	all := map[reflect.Type][]byte{}
	for _, table := range []map[uint32]reflect.Type{replies, messages} {
		for _, t := range table {
			if t == nil {
				continue
			}
			if t.Kind() == reflect.Slice {
				e := t.Elem().Elem()
				all[t] = join(replyTo(r, e, version), replyTo(r, e, version))
			} else {
				all[t] = replyTo(r, t, version)
			}
		}
	}
	return all
}

func TestCheckTakesWhatIsRightAndNothingCut(t *testing.T) {
	for _, version := range []int{oldestVersion, ourVersion} {
		for typ, b := range wellFormed(version) {
			if n, err := check(typ, version, b); err != nil || n != len(b) {
				t.Errorf("%s: %d of %d, %v", typ, n, len(b), err)
			}
			whole := 0 // lists may be cut between entries
			for i := range b {
				if _, err := check(typ, version, b[:i]); err == nil {
					whole++
				}
			}
			if want := map[bool]int{true: 2, false: 0}[typ.Kind() == reflect.Slice]; whole != want && len(b) > 0 {
				t.Errorf("%s: %d parts pass, want %d", typ, whole, want)
			}
		}
	}
}

// FuzzWire plays bytes of a server to proto behind the filter: the decoder must neither
// panic nor go round in circles.
func FuzzWire(f *testing.F) {
	for _, table := range []map[uint32]reflect.Type{replies, messages} {
		for op, t := range table {
			b := wellFormed(ourVersion)[t]
			f.Add(uint8(op), command(proto.OpReply, 1, b...))
			f.Add(uint8(op), command(op, 0xffffffff, b...))
		}
	}
	f.Add(uint8(proto.OpAuth), command(proto.OpError, 1, u32(1)...))
	f.Add(uint8(0), frame(5, 0, []byte("sound")))
	f.Fuzz(func(t *testing.T, op uint8, in []byte) {
		here, there := net.Pipe()
		m := newMic("mic", nil)
		m.sink.prepare(2)
		w := newWire(here, hooks{sound: m.sink.sound, reply: m.sink.reply})
		w.version.Store(ourVersion)
		done := make(chan struct{})
		var c proto.Client
		c.SetTimeout(5 * time.Second)
		c.Callback = func(msg any) {
			if _, last := msg.(*proto.ConnectionClosed); last {
				close(done)
			} else {
				m.message(msg)
			}
		}
		c.Open(w)
		var wg sync.WaitGroup
		if ask := requestFor(uint32(op)); ask != nil {
			reply := replyFor(uint32(op))
			asked := make(chan struct{})
			wg.Go(func() {
				h := make([]byte, headerSize)
				if _, err := io.ReadFull(there, h); err == nil {
					_, _ = io.CopyN(io.Discard, there, int64(binary.BigEndian.Uint32(h)))
				}
				close(asked)
			})
			wg.Go(func() { _ = c.Request(ask, reply) })
			<-asked
			// The fuzzer's bytes answer tag 1; requests begin with 0.
			w.mu.Lock()
			w.asked[1] = uint32(op)
			w.mu.Unlock()
			if len(in) >= headerSize+tagSize && bytes.Equal(in[headerSize+6:headerSize+10], []byte{0, 0, 0, 1}) {
				in = bytes.Clone(in)
				in[headerSize+9] = 0
			}
		}
		_, _ = there.Write(in) // the wire may have hung up
		there.Close()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Fatal("the reader does not end")
		}
		here.Close()
		wg.Wait()
		m.sink.clear()
	})
}

func requestFor(op uint32) proto.RequestArgs {
	switch op {
	case proto.OpAuth:
		return &proto.Auth{}
	case proto.OpGetServerInfo:
		return &proto.GetServerInfo{}
	case proto.OpGetSourceInfo:
		return &proto.GetSourceInfo{}
	case proto.OpGetSourceInfoList:
		return &proto.GetSourceInfoList{}
	case proto.OpGetSourceOutputInfo:
		return &proto.GetSourceOutputInfo{}
	case proto.OpCreateRecordStream:
		return &proto.CreateRecordStream{}
	case proto.OpGetRecordLatency:
		return &proto.GetRecordLatency{}
	case proto.OpSubscribe:
		return &proto.Subscribe{}
	}
	return nil
}

func replyFor(op uint32) proto.Reply {
	if t := replies[op]; t != nil {
		return reflect.New(t).Interface().(proto.Reply)
	}
	return nil
}

func TestWriteToADeafServerEnds(t *testing.T) {
	t.Parallel()
	at := listen(t, func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 1)) })
	nc, err := net.Dial("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	w := newWire(nc, hooks{})
	begun := time.Now()
	b := command(proto.OpSubscribe, 1, make([]byte, 1<<16)...)
	for err == nil && time.Since(begun) < 10*time.Second {
		_, err = w.Write(b)
	}
	if !errors.Is(classify(w.cause()), hal.ErrGone) {
		t.Errorf("got %v", w.cause())
	}
}
