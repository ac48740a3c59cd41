package media

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

func TestCountsArePaired(t *testing.T) {
	freed := 0
	f := NewFrame(func(*Frame) { freed++ })
	f.Lend()
	mustPanic(t, "lent while out", func() { f.Lend() })
	f.Retain()
	f.Release()
	if freed != 0 {
		t.Fatal("freed with a reader left")
	}
	f.Release()
	if freed != 1 {
		t.Fatal("not freed")
	}
	mustPanic(t, "second release", func() { f.Release() })

	g := NewFrame(nil)
	mustPanic(t, "retained at home", func() { g.Retain() })
	p := NewPacket(nil).Lend()
	p.Release()
	mustPanic(t, "packet released twice", p.Release)
	s := NewSound(nil).Lend()
	s.Release()
	mustPanic(t, "sound released twice", s.Release)
}

func TestPoolIsBoundedAndReuses(t *testing.T) {
	p := NewFrames(Format{Pixel: NV12, Size: Size{320, 240}}, 2)
	a, b := p.Get(), p.Get()
	if a == nil || b == nil || p.Get() != nil || p.Out() != 2 {
		t.Fatalf("bound of 2: %v %v out %d", a, b, p.Out())
	}
	a.Turn, a.Seq, a.Marks[Sent] = Turn{Rotate90, true}, 7, 9
	a.Release()
	c := p.Get()
	if c != a || !c.Turn.Zero() || c.Seq != 0 || c.Marks != (Marks{}) {
		t.Errorf("a reused frame carries %+v %d %v", c.Turn, c.Seq, c.Marks)
	}
	b.Release()
	c.Release()
	if p.Out() != 0 {
		t.Errorf("%d out", p.Out())
	}
	q := NewPackets(100, 1)
	k := q.Get()
	k.Data, k.Key = append(k.Data, make([]byte, 5000)...), true
	k.Release()
	if k = q.Get(); k.Key || len(k.Data) != 0 || cap(k.Data) < 5000 {
		t.Errorf("a reused packet: key %v len %d cap %d", k.Key, len(k.Data), cap(k.Data))
	}
	k.Release()
	if n := testing.AllocsPerRun(100, func() { q.Get().Release() }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func TestLayout(t *testing.T) {
	for _, f := range []Format{{Pixel: YU12, Size: Size{1366, 767}}, {Pixel: NV12, Size: Size{33, 17}}, {Pixel: YU12, Size: Size{1, 1}}} {
		p := NewFrames(f, 1).Get()
		ch := (f.Size.H + 1) / 2
		if p.Stride[0] < f.Size.W || p.Stride[0]%64 != 0 || len(p.Planes[0]) != p.Stride[0]*f.Size.H {
			t.Errorf("%v: luma %d × %d", f, p.Stride[0], len(p.Planes[0]))
		}
		cw := (f.Size.W + 1) / 2
		if f.Pixel == NV12 {
			cw *= 2
		} else if len(p.Planes[2]) != p.Stride[2]*ch {
			t.Errorf("%v: V", f)
		}
		if p.Stride[1] < cw || len(p.Planes[1]) != p.Stride[1]*ch {
			t.Errorf("%v: chroma %d × %d", f, p.Stride[1], len(p.Planes[1]))
		}
	}
}

func TestLatestKeepsTheNewest(t *testing.T) {
	l := NewLatest()
	p := NewFrames(Format{Pixel: NV12, Size: Size{16, 16}}, 4)
	for i := range 3 {
		f := p.Get()
		f.Seq = uint32(i)
		l.Put(f)
	}
	f, err := l.Get(context.Background())
	if err != nil || f.Seq != 2 || l.Dropped() != 2 || p.Out() != 1 {
		t.Fatalf("seq %d, %d dropped, %d out, %v", f.Seq, l.Dropped(), p.Out(), err)
	}
	f.Release()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Get(ctx); err == nil {
		t.Error("no error after the end")
	}
	l.Put(p.Get())
	l.Clear()
	l.Clear()
	if p.Out() != 0 {
		t.Errorf("%d out", p.Out())
	}
}

func packet(p *Pool[*Packet], n byte, key bool) *Packet {
	k := p.Get()
	k.Data, k.Key = append(k.Data, n), key
	return k
}

func drain(q *Queue) (s string) {
	for p := q.Try(); p != nil; p = q.Try() {
		s += string(rune('a' + p.Data[0]))
		p.Release()
	}
	return s
}

func TestQueueNeverBreaksAGroupOfPictures(t *testing.T) {
	asked := 0
	q := NewQueue(4, func() { asked++ })
	p := NewPackets(10, 100)
	put := func(keys string) {
		for i, c := range keys {
			q.Put(packet(p, byte(i), c == 'K'))
		}
	}
	put("..K.")
	if s := drain(q); s != "cd" || q.Dropped() != 2 {
		t.Errorf("start: %q, %d dropped", s, q.Dropped())
	}
	put("K.....K.")
	if s := drain(q); s != "gh" || asked != 1 {
		t.Errorf("overflow: %q, asked %d", s, asked)
	}
	put("K...K")
	if s := drain(q); s != "e" || asked != 1 {
		t.Errorf("overflow by a key: %q, asked %d", s, asked)
	}
	put("K.")
	q.Clear()
	put(".K")
	if s := drain(q); s != "b" {
		t.Errorf("after clear: %q", s)
	}
	if p.Out() != 0 {
		t.Errorf("%d out", p.Out())
	}
}

func TestQueueOfSoundDropsTheOldest(t *testing.T) {
	q := NewQueue(3, nil)
	p := NewPackets(10, 100)
	for i := range 5 {
		q.Put(packet(p, byte(i), true))
	}
	if s := drain(q); s != "cde" || q.Dropped() != 2 || p.Out() != 0 {
		t.Errorf("%q, %d dropped, %d out", s, q.Dropped(), p.Out())
	}
}

// Whatever happens, a reader of pictures sees whole groups: each packet is a key or
// follows the packet before it.
func TestQueueProperty(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		q := NewQueue(1+r.IntN(8), func() {})
		p := NewPackets(10, 20)
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(context.Background())
		wg.Go(func() {
			last, key := -2, false
			for {
				k, err := q.Get(ctx)
				if err != nil {
					return
				}
				n := int(k.Data[0])<<8 | int(k.Data[1])
				if !k.Key && n != last+1 {
					t.Errorf("seed %d: %d after %d", seed, n, last)
				}
				key = key || k.Key
				last = n
				k.Release()
				if !key {
					t.Errorf("seed %d: began without a key picture", seed)
				}
			}
		})
		for i := range 2000 {
			k := p.Get()
			if k == nil {
				q.Clear()
				continue
			}
			k.Data, k.Key = append(k.Data, byte(i>>8), byte(i)), r.IntN(10) == 0
			q.Put(k)
		}
		cancel()
		wg.Wait()
		q.Clear()
		if p.Out() != 0 {
			t.Fatalf("seed %d: %d out", seed, p.Out())
		}
	}
}

func TestTapSharesAndForgets(t *testing.T) {
	var tap Tap[*Frame]
	p := NewFrames(Format{Pixel: NV12, Size: Size{16, 16}}, 2)
	a, b := NewLatest(), NewLatest()
	endA := tap.Add(a.Put)
	endB := tap.Add(b.Put)
	tap.Put(p.Get())
	fa, _ := a.Get(context.Background())
	fb, _ := b.Get(context.Background())
	if fa != fb {
		t.Error("two frames")
	}
	fa.Release()
	if p.Out() != 1 {
		t.Error("gone too early")
	}
	fb.Release()
	endA()
	tap.Put(p.Get())
	if len(a.C()) != 0 || len(b.C()) != 1 || tap.Readers() != 1 {
		t.Error("reading did not end")
	}
	b.Clear()
	endB()
	tap.Put(p.Get())
	if p.Out() != 0 {
		t.Errorf("%d out", p.Out())
	}
	endC := tap.Add(a.Put)
	f := p.Get()
	f.Retain() // so that it does not leave the pool
	if n := testing.AllocsPerRun(100, func() { tap.Put(f.Retain()); a.Clear() }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
	f.Release()
	f.Release()
	endC()
}

func TestDemandMerges(t *testing.T) {
	var d Demand
	c, remove := d.Changed()
	defer remove()
	a, b := d.Sink(), d.Sink()
	told := func() bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	a.Set(Wish{Subscribed: true, Bitrate: 2e6, Turn: true, Loss: .1})
	if w := d.Wish(); w != (Wish{true, 2e6, true, .1}) || !told() {
		t.Errorf("one sink: %+v", w)
	}
	b.Set(Wish{Bitrate: 1, Loss: .9})
	if w := d.Wish(); w != (Wish{true, 2e6, true, .1}) || told() {
		t.Errorf("a sink that does not subscribe has no say: %+v", w)
	}
	b.Set(Wish{Subscribed: true, Bitrate: 1e6})
	if w := d.Wish(); w != (Wish{true, 1e6, false, .1}) || !told() {
		t.Errorf("two sinks: %+v", w)
	}
	b.WantKey(KeySoon)
	a.WantKey(KeyNow)
	b.WantKey(KeySoon)
	if d.Key() != KeyNow || !told() {
		t.Errorf("key wish %v", d.Key())
	}
	d.KeyMade()
	if d.Key() != NoKey {
		t.Error("key wish stays")
	}
	a.Close()
	b.Close()
	if w := d.Wish(); w != (Wish{}) || !told() {
		t.Errorf("no sink: %+v", w)
	}
}

func TestMarks(t *testing.T) {
	var m Marks
	m[Captured] = Now()
	m[Sent] = m[Captured].Add(5 * time.Millisecond)
	if m.Between(Captured, Sent) != 5*time.Millisecond || m.Between(Captured, Encoded) != 0 {
		t.Error(m)
	}
	if d := Now().Sub(m[Captured]); d < 0 || d > time.Second {
		t.Errorf("the clock made a step of %v", d)
	}
}

func TestFormats(t *testing.T) {
	if NV12.String() != "NV12" || PixelFormat(1).String() != "????" && PixelFormat(1).String() == "" {
		t.Error(NV12, PixelFormat(1))
	}
	if (Format{Pixel: YU12, Size: Size{3, 3}}).Bytes() != 17 || (Format{Pixel: YUYV, Size: Size{640, 480}}).Bytes() != 614400 || (Format{Pixel: MJPG}).Bytes() != 0 {
		t.Error("sizes")
	}
	if FPS(30).Interval() != time.Second/30 || (Rate{30000, 1001}).String() != "29.97" || (Rate{}).Interval() != 0 {
		t.Error("rates")
	}
	if Rotate270.Plus(Rotate180) != Rotate90 || Rotation(45).Valid() || (Size{2, 1}).Turned(Rotate90) != (Size{1, 2}) {
		t.Error("rotations")
	}
	if c := (Colour{}).Guess(Size{1280, 720}); c.Matrix != BT709 || !c.Known() {
		t.Error(c)
	}
	if !bytes.Equal([]byte(MJPG.String()), []byte("MJPG")) || !MJPG.Compressed() || NV12.Compressed() {
		t.Error("fourcc")
	}
}

func TestShutMailboxKeepsNothing(t *testing.T) {
	p := NewFrames(Format{Pixel: YU12, Size: Size{16, 16}}, 2)
	m := NewLatest()
	m.Put(p.Get())
	m.Shut(true)
	m.Put(p.Get())
	if p.Out() != 0 || m.Dropped() != 2 {
		t.Errorf("%d are out, %d dropped", p.Out(), m.Dropped())
	}
	m.Shut(false)
	m.Put(p.Get())
	f, err := m.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.Release()

	// Whoever comes last, the one who puts or the one who shuts, leaves nothing.
	for range 1000 {
		m.Shut(false)
		var wg sync.WaitGroup
		wg.Go(func() { m.Put(p.Get()) })
		m.Shut(true)
		wg.Wait()
		if p.Out() != 0 {
			t.Fatal("a frame lies in a mailbox that nobody reads")
		}
	}
}
