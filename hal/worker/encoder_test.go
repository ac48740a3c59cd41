package worker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/hal/fake"
	"anchord/internal/media"
)

// connect gives an encoder whose worker is a goroutine of this process.
func connect(t testing.TB, m hal.VideoEncoders, c hal.VideoConfig) *encoder {
	t.Helper()
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(theirs.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := Serve(context.Background(), fd, m); err != nil {
			t.Error(err)
		}
	})
	e := &encoder{name: "here", log: slog.New(slog.DiscardHandler), sock: ours, begin: time.Now(), limits: New(Config{}).c.Limits}
	t.Cleanup(func() {
		_ = e.Close()
		wg.Wait()
	})
	if err := e.greet(); err != nil {
		t.Fatal(err)
	}
	if err := e.open(c); err != nil {
		t.Fatal(err)
	}
	return e
}

func hd() hal.VideoConfig {
	return hal.VideoConfig{Input: media.Format{Pixel: media.YU12, Size: media.Size{W: 1280, H: 720}}, Rate: media.FPS(30), Bitrate: 2.5e6}
}

// Neither side allocates anything for a picture, nor copies one that lies in shared memory.
func TestPicturesCostNoAllocations(t *testing.T) {
	for _, shared := range []bool{true, false} {
		e := connect(t, &fake.Encoders{}, hd())
		pool := media.NewFrames(hd().Input, 2)
		if shared {
			var err error
			if pool, err = media.NewSharedFrames(hd().Input, 2); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		one := func() {
			f := pool.Get()
			n++
			f.Marks[media.Captured] = media.Time(n) * 1e7
			p, err := e.Encode(f, n%10 == 0)
			f.Release()
			if err != nil || p == nil {
				t.Fatal(p, err)
			}
			p.Release()
		}
		for range 70 {
			one()
		}
		if a := testing.AllocsPerRun(200, one); a >= 1 {
			t.Errorf("shared %v: %v allocations a picture", shared, a)
		}
		if want := map[bool]uint64{true: 0, false: uint64(n)}[shared]; e.pictures.copied != want {
			t.Errorf("shared %v: %d of %d pictures were copied", shared, e.pictures.copied, n)
		}
		if len(e.pictures.known) > 2 {
			t.Errorf("%d pictures are known", len(e.pictures.known))
		}
		pool.Close()
	}
}

// Packets that readers keep cost a copy at first, and then pictures, but never the
// stream: what comes after is whole, and no packet changes while somebody has it.
func TestReadersThatKeepPackets(t *testing.T) {
	c := small()
	c.Bitrate = 8e6
	e := connect(t, &fake.Encoders{}, c)
	pool, err := media.NewSharedFrames(c.Input, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	type kept struct {
		p    *media.Packet
		was  string
		mark media.Time
	}
	var all []kept
	skipped, n := 0, 0
	r := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		for range 400 { // readers take more and more
			f := pool.Get()
			n++
			f.Marks[media.Captured] = media.Time(n)
			p, err := e.Encode(f, r.IntN(40) == 0)
			f.Release()
			if err != nil {
				t.Fatal(err)
			}
			if p == nil {
				skipped++
				continue
			}
			if p.Marks[media.Captured] != media.Time(n) {
				t.Fatalf("packet of %d when %d was sent", p.Marks[media.Captured], n)
			}
			all = append(all, kept{p, string(p.Data), media.Time(n)})
		}
		if len(all) < maxPackets || len(all) > 2*maxPackets || skipped == 0 {
			t.Errorf("%d are out, %d were skipped", len(all), skipped)
		}
		r.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
		for i, k := range all {
			if string(k.p.Data) != k.was || k.p.Marks[media.Captured] != k.mark {
				t.Fatalf("packet %d changed", k.mark)
			}
			if i%7 == 6 { // some stay out for long
				continue
			}
			k.p.Release()
			all[i].p = nil
		}
		rest := all[:0]
		for _, k := range all {
			if k.p != nil {
				rest = append(rest, k)
			}
		}
		all = rest
	}
	a := e.area
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	for _, k := range all {
		if string(k.p.Data) != k.was {
			t.Errorf("packet %d changed after its encoder was closed", k.mark)
		}
		k.p.Release()
	}
	if a.shared.Bytes != nil || a.users != 0 || a.used != 0 || a.copies.Out() != 0 {
		t.Errorf("the memory is kept: %d users, %d in the ring, %d copies", a.users, a.used, a.copies.Out())
	}
}

// The ring never gives a place that somebody has.
func TestAreaProperty(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	a, err := newArea(small().Input)
	if err != nil {
		t.Fatal(err)
	}
	type piece struct {
		p     *media.Packet
		at, n int
	}
	var out []piece
	lent, wrapped := 0, false
	for range 20000 {
		if r.IntN(3) == 0 && len(out) > 0 {
			i := min(r.IntN(4), len(out)-1) // mostly the oldest
			out[i].p.Release()
			out = append(out[:i], out[i+1:]...)
			continue
		}
		at, spare, ok := a.reserve()
		if !ok {
			for range len(out) / 2 {
				out[0].p.Release()
				out = out[1:]
			}
			continue
		}
		if spare != nil {
			spare.Release()
			if at != a.ring {
				t.Fatalf("a copy's place is %d", at)
			}
			if len(out) > 20 {
				out[0].p.Release()
				out = out[1:]
			}
			continue
		}
		if at < 0 || at+a.room > a.ring {
			t.Fatalf("place %d with room %d in a ring of %d", at, a.room, a.ring)
		}
		for _, o := range out {
			if at < o.at+o.n && o.at < at+a.room {
				t.Fatalf("place %d+%d while %d+%d is out", at, a.room, o.at, o.n)
			}
		}
		wrapped = wrapped || at == 0 && len(out) > 0
		n := 1 + r.IntN(a.room)
		if r.IntN(3) > 0 {
			n = 1 + r.IntN(a.room/50)
		}
		out = append(out, piece{a.lend(at, n), at, n})
		lent++
	}
	if lent < 1000 || !wrapped {
		t.Errorf("%d were lent, gone round: %v", lent, wrapped)
	}
	for _, o := range out {
		o.p.Release()
	}
	a.close()
	if a.shared.Bytes != nil {
		t.Error("the memory is kept")
	}
}

// Memory that pictures no longer lie in is given back, and numbers of descriptors that
// are used again do not confuse old memory with new.
func TestRegions(t *testing.T) {
	e := connect(t, &fake.Encoders{}, small())
	encodeFrom := func(pool *media.Pool[*media.Frame], times int) {
		t.Helper()
		for range times {
			f := pool.Get()
			p, err := e.Encode(f, false)
			f.Release()
			if err != nil {
				t.Fatal(err)
			}
			p.Release()
		}
	}
	count := func() (n int) {
		for _, r := range e.pictures.regions {
			if r != nil {
				n++
			}
		}
		return n
	}
	pools := func(n int) (all []*media.Pool[*media.Frame]) {
		for range n {
			p, err := media.NewSharedFrames(small().Input, 2)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		return all
	}
	for range 100 { // a pool each, with the same descriptor
		p := pools(1)[0]
		encodeFrom(p, 1)
		p.Close()
		if n := count(); n > maxRegions {
			t.Fatalf("%d regions", n)
		}
	}
	many := pools(maxRegions + 8)
	for range 3 {
		for _, p := range many {
			encodeFrom(p, 1)
		}
	}
	if n := count(); n != maxRegions {
		t.Errorf("%d regions", n)
	}
	encodeFrom(many[0], 3*staleAfter)
	if n := count(); n != 1 || len(e.pictures.known) > 2 {
		t.Errorf("%d regions, %d pictures known", n, len(e.pictures.known))
	}
	if e.pictures.copied != 0 {
		t.Errorf("%d were copied", e.pictures.copied)
	}
	for _, p := range many {
		p.Close()
	}
}

// lines is a maker whose encoders give what they see: the first bytes of each line.
type lines struct{ fake.Encoders }

func (l *lines) Open(ctx context.Context, c hal.VideoConfig) (hal.VideoEncoder, hal.VideoConfig, error) {
	e, c, err := l.Encoders.Open(ctx, c)
	return seeing{e}, c, err
}

type seeing struct{ hal.VideoEncoder }

func (s seeing) Encode(f *media.Frame, _ bool) (*media.Packet, error) {
	p := media.NewPacket(nil).Lend()
	p.Data, p.Marks = append(p.Data, 0, 0, 1, 0x41), f.Marks
	for i, b := range f.Planes {
		for ; len(b) > 0; b = b[min(len(b), f.Stride[i]):] {
			p.Data = append(p.Data, b[0], b[planes(f.Format)[i].W-1])
		}
	}
	return p, nil
}

// Pictures arrive as they are, whatever memory they lie in and however their lines are
// padded.
func TestPicturesArrive(t *testing.T) {
	for _, px := range []media.PixelFormat{media.YU12, media.NV12} {
		c := small()
		c.Input.Pixel, c.Input.Size = px, media.Size{W: 50, H: 34}
		e := connect(t, &lines{}, c)
		shared, err := media.NewSharedFrames(c.Input, 3)
		if err != nil {
			t.Fatal(err)
		}
		odd := media.NewFrame(nil)
		odd.Format = c.Input
		for i, n := range planes(c.Input) {
			if n.W > 0 {
				odd.Stride[i] = n.W + 13
				odd.Planes[i] = make([]byte, odd.Stride[i]*(n.H-1)+n.W) // the last line ends with its picture
			}
		}
		mislabelled := media.NewFrames(c.Input, 1).Get()
		mislabelled.Memory, mislabelled.FD, mislabelled.Offset = media.Memfd, shared.Get().FD, 1<<20
		for name, f := range map[string]*media.Frame{"plain": media.NewFrames(c.Input, 1).Get(), "shared": shared.Get(), "padded": odd.Lend(), "beyond": mislabelled} {
			want := []byte{0, 0, 1, 0x41}
			for i, n := range planes(c.Input) {
				for y := range n.H {
					f.Planes[i][y*f.Stride[i]], f.Planes[i][y*f.Stride[i]+n.W-1] = byte(1+i*50+y), byte(2+i*50+y)
					want = append(want, byte(1+i*50+y), byte(2+i*50+y))
				}
			}
			p, err := e.Encode(f, false)
			if err != nil {
				t.Fatal(name, err)
			}
			if string(p.Data) != string(want) {
				t.Errorf("%v %s: got %x, want %x", px, name, p.Data, want)
			}
			p.Release()
		}
		wrong := media.NewFrames(c.Input, 1).Get()
		wrong.Planes[1] = wrong.Planes[1][:10]
		if _, err := e.Encode(wrong, false); !errors.Is(err, hal.ErrUnsupported) {
			t.Errorf("too few bytes: %v", err)
		}
		wrong.Planes[1], wrong.Stride[0] = nil, 10
		if _, err := e.Encode(wrong, false); !errors.Is(err, hal.ErrUnsupported) {
			t.Errorf("lines that are too short: %v", err)
		}
	}
}

// A DMA buffer that cannot be mapped as one is copied.
func TestDMABufferThatIsNone(t *testing.T) {
	e := connect(t, &fake.Encoders{}, small())
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f := media.NewFrames(small().Input, 1).Get()
	f.Memory, f.FD = media.DMABUF, int(file.Fd())
	shared, err := media.NewShared("anchord-test", len(f.Planes[0])*2, true)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	g := media.NewFrames(small().Input, 1).Get()
	g.Memory, g.FD = media.DMABUF, shared.FD // can be mapped; only the planes tell that they are elsewhere
	for i := range 4 {
		for _, f := range []*media.Frame{f, g} {
			p, err := e.Encode(f, false)
			if err != nil {
				t.Fatal(i, err)
			}
			p.Release()
		}
	}
	if e.pictures.copied < 4 {
		t.Errorf("%d were copied", e.pictures.copied)
	}
}
