package worker

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/hal/fake"
	"anchord/internal/media"
)

// The bytes of each message, as docs/encoders.md has them, on a little-endian machine.
func TestMessages(t *testing.T) {
	c := hal.VideoConfig{Input: media.Format{Pixel: media.NV12, Size: media.Size{W: 1280, H: 720},
		Colour: media.Colour{Primaries: 1, Transfer: 6, Matrix: 5, Full: true}}, Rate: media.Rate{Num: 30000, Den: 1001}, Bitrate: 2500000, MinBitrate: 300000, Threads: 2}
	for _, m := range []struct {
		k    kind
		put  func(*writer)
		back func(*reader) any
		in   any
		want string
	}{
		{hello, helloAsk{1, 3}.put, func(r *reader) any { var m helloAsk; m.get(r); return m }, helloAsk{1, 3},
			"0100000020000000070000000000000041 4e43570100000003000000 00000000"},
		{hello | answer, helloAnswer{1, 4, true, "mpp", []media.PixelFormat{media.NV12, media.YU12}}.put,
			func(r *reader) any { var m helloAnswer; m.get(r); return m }, helloAnswer{1, 4, true, "mpp", []media.PixelFormat{media.NV12, media.YU12}},
			"01010000600000000700000000000000 414e4357 01000000 04000000 01000000 6d70700000000000000000000000000000000000000000000000000000000000 4e563132 59553132 000000000000000000000000000000000000000000000000"},
		{open, openAsk{c, 4096}.put, func(r *reader) any { var m openAsk; m.get(r); return m }, openAsk{c, 4096},
			"02000000480000000700000000000000 4e563132 00050000 d0020000 01060501 30750000 e9030000 a0252600 e0930400 02000000 00000000 0000000000000000 00100000 00000000"},
		{mapping, mapAsk{3, media.DMABUF, 1 << 20}.put, func(r *reader) any { var m mapAsk; m.get(r); return m }, mapAsk{3, media.DMABUF, 1 << 20},
			"03000000200000000700000000000000 03000000 01000000 0000100000000000"},
		{encode, encodeAsk{9, true, place{1, [3]uint32{0x100, 0x200, 0x300}, [3]uint32{64, 32, 32}}, 0x40, 0x1000, 0x1122334455667788}.put,
			func(r *reader) any { var m encodeAsk; m.get(r); return m },
			encodeAsk{9, true, place{1, [3]uint32{0x100, 0x200, 0x300}, [3]uint32{64, 32, 32}}, 0x40, 0x1000, 0x1122334455667788},
			"05000000480000000700000000000000 09000000 01000000 01000000 00000000 000100000002000000030000 400000002000000020000000 40000000 00100000 8877665544332211"},
		{encode | answer, encodeAnswer{9, 8, 5000, true}.put, func(r *reader) any { var m encodeAnswer; m.get(r); return m }, encodeAnswer{9, 8, 5000, true},
			"05010000200000000700000000000000 09000000 08000000 88130000 01000000"},
		{rate, rateAsk{400000, media.FPS(15)}.put, func(r *reader) any { var m rateAsk; m.get(r); return m }, rateAsk{400000, media.FPS(15)},
			"06000000200000000700000000000000 801a0600 0f000000 01000000 00000000"},
		{rate | answer, func(w *writer) { putGranted(w, 400000) }, func(r *reader) any { n, _ := getGranted(r); return n }, 400000,
			"06010000200000000700000000000000 801a0600 00000000 0000000000000000"},
		{refused | answer, func(w *writer) { putRefusal(w, fmt.Errorf("open it: %w", hal.ErrBusy)) },
			func(r *reader) any { e, _ := getRefusal(r); return *e }, refusal{"open it: device is in use", hal.ErrBusy},
			"08010000310000000700000000000000 02000000 19000000 6f70656e2069743a20646576696365206973 20696e20757365"},
		{closing, func(*writer) {}, func(*reader) any { return nil }, nil, "07000000100000000700000000000000"},
	} {
		var w writer
		for i := range w.b {
			w.b[i] = 0xee // nothing may stay from a message before
		}
		w.begin(m.k, 7)
		m.put(&w)
		if got := hex.EncodeToString(w.bytes()); got != strings.ReplaceAll(m.want, " ", "") {
			t.Errorf("%v:\n got %s\nwant %s", m.k, got, m.want)
		}
		k, serial, body, err := header(bytes.Clone(w.bytes()))
		if err != nil || k != m.k || serial != 7 {
			t.Errorf("%v: %v %d %v", m.k, k, serial, err)
		}
		if got := m.back(&body); !reflect.DeepEqual(got, m.in) || !body.end() {
			t.Errorf("%v: read back %+v", m.k, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, want := range []error{hal.ErrGone, hal.ErrBusy, hal.ErrDenied, hal.ErrUnsupported, hal.ErrStuck, hal.ErrStopped, nil} {
		in := errors.New("words \x1b[2J and \xff " + strings.Repeat("more ", 200))
		if want != nil {
			in = fmt.Errorf("words \x1b[2J and \xff: %w %s", want, strings.Repeat("more ", 200))
		}
		var w writer
		w.begin(refused|answer, 1)
		putRefusal(&w, in)
		_, _, body, err := header(w.bytes())
		if err != nil {
			t.Fatal(err)
		}
		out, ok := getRefusal(&body)
		if !ok || want != nil && !errors.Is(out, want) || want == nil && out.Unwrap() != nil || !strings.HasPrefix(out.Error(), "words ?[2J and ?") || len(out.Error()) > maxText {
			t.Errorf("%v became %v", in, out)
		}
	}
	var w writer
	w.begin(refused|answer, 1)
	w.u32(99) // a kind that is not known here
	w.u32(0)
	_, _, body, _ := header(w.bytes())
	if out, ok := getRefusal(&body); !ok || out.Unwrap() != nil || out.Error() != "no reason given" {
		t.Errorf("%v %v", out, ok)
	}
}

// FuzzMessage has any bytes read as each kind of message.
func FuzzMessage(f *testing.F) {
	var w writer
	for _, m := range []struct {
		k   kind
		put func(*writer)
	}{
		{hello, helloAsk{1, 1}.put}, {open, openAsk{small(), 4096}.put}, {mapping, mapAsk{0, media.Memfd, 4096}.put},
		{encode, encodeAsk{picture: 1, room: 10}.put}, {rate, rateAsk{1000, media.FPS(5)}.put},
		{hello | answer, helloAnswer{version: 1, name: "x", inputs: []media.PixelFormat{media.YU12}}.put},
		{refused | answer, func(w *writer) { putRefusal(w, hal.ErrGone) }},
	} {
		w.begin(m.k, 1)
		m.put(&w)
		f.Add(bytes.Clone(w.bytes()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, body, err := header(b)
		if err != nil && len(b) >= headerSize && len(b) <= maxMessage && !errors.Is(err, errProtocol) {
			t.Error(err)
		}
		var (
			h  helloAsk
			ha helloAnswer
			o  openAsk
			m  mapAsk
			e  encodeAsk
			ea encodeAnswer
			ra rateAsk
		)
		for _, get := range []func(*reader) bool{h.get, ha.get, o.get, m.get, e.get, ea.get, ra.get,
			func(r *reader) bool { _, ok := getGranted(r); return ok },
			func(r *reader) bool { _, ok := getRefusal(r); return ok }} {
			r := body
			if get(&r) && !r.end() {
				t.Error("taken with bytes left")
			}
		}
		if o.config.Input.Size.W > maxSide && sane(o.config) || len(ha.inputs) > maxInputs || len(ha.name) > 3*maxName {
			t.Errorf("%+v %+v", o, ha)
		}
	})
}

// split makes messages of fuzz bytes: a length, then as many bytes; a length of more than
// 250 is the start of a good message of a kind.
func split(b []byte) (all [][]byte) {
	for serial := uint32(1); len(b) > 0 && len(all) < 20; serial++ {
		n := int(b[0])
		b = b[1:]
		var w writer
		w.begin(kind(n%9), serial)
		body := b[:min(n, len(b), maxMessage-headerSize)]
		b = b[len(body):]
		copy(w.b[headerSize:], body)
		w.len += len(body)
		all = append(all, bytes.Clone(w.bytes()))
	}
	return all
}

// FuzzServe has a daemon that says anything, with memory in its hand.
func FuzzServe(f *testing.F) {
	var seed []byte
	add := func(k kind, put func(*writer)) {
		var w writer
		w.begin(k, 1)
		put(&w)
		body := w.bytes()[headerSize:]
		for n := int(k); n < 250; n += 9 {
			if n >= len(body) {
				seed = append(append(seed, byte(n)), append(bytes.Clone(body), make([]byte, n-len(body))...)...)
				break
			}
		}
		// Messages whose length fits no number of their kind go in as they are below.
	}
	add(hello, helloAsk{1, 1}.put)
	add(open, openAsk{small(), 1 << 20}.put)
	add(encode, encodeAsk{picture: 1, room: 100}.put)
	f.Add(seed)
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs, err := pair()
		if err != nil {
			t.Fatal(err)
		}
		fd, _ := unix.Dup(int(theirs.Fd()))
		_ = theirs.Close()
		var wg sync.WaitGroup
		wg.Go(func() { _ = Serve(context.Background(), fd, &fake.Encoders{}) })
		shared, err := media.NewShared("anchord-fuzz", 1<<20, false)
		if err != nil {
			t.Fatal(err)
		}
		var w writer
		w.begin(hello, 0)
		helloAsk{1, 1}.put(&w)
		talk := func(m []byte, fd int) bool {
			if ours.write(m, fd) != nil || ours.within(5*time.Second) != nil {
				return false
			}
			_, err := ours.read()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("no answer")
			}
			return err == nil
		}
		good := len(b)%2 == 0 && talk(bytes.Clone(w.bytes()), -1)
		if good && len(b)%4 == 0 {
			w.begin(open, 0)
			openAsk{small(), 1 << 20}.put(&w)
			talk(bytes.Clone(w.bytes()), shared.FD)
		}
		for i, m := range split(b) {
			with := -1
			if i%2 == 0 {
				with = shared.FD
			}
			if !talk(m, with) {
				break
			}
		}
		ours.close()
		wg.Wait()
		shared.Close()
	})
}

// FuzzAnswers has a worker that says anything after it was opened.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte{32, 1, 0, 0, 0}, []byte{0, 0, 0, 1, 0x65})
	f.Add([]byte{}, []byte{})
	var w writer
	w.begin(encode|answer, 3)
	encodeAnswer{1, 1, 100, true}.put(&w)
	f.Add(bytes.Clone(w.bytes()), []byte("\x00\x00\x00\x01\x67abc\x00\x00\x00\x01\x68abc\x00\x00\x00\x01\x65abc"))
	f.Fuzz(func(t *testing.T, b, written []byte) {
		ours, theirs, err := pair()
		if err != nil {
			t.Fatal(err)
		}
		fd := int(theirs.Fd())
		in := make([]byte, maxMessage)
		var wg sync.WaitGroup
		wg.Go(func() {
			defer theirs.Close()
			for i := range 4 {
				n, _, _, _, err := unix.Recvmsg(fd, in, nil, 0)
				if err != nil || n < headerSize {
					return
				}
				k, serial, _, _ := header(in[:n])
				var w writer
				w.begin(k|answer, serial)
				switch {
				case i == 0:
					helloAnswer{version: Version, keeps: 2, name: "fuzz", inputs: []media.PixelFormat{media.YU12}}.put(&w)
				case i == 1:
					putConfig(&w, small())
				case k == encode && len(b) > 0:
					_, _ = unix.Write(fd, b)
					return
				case k == encode:
					return
				}
				_, _ = unix.Write(fd, w.bytes())
			}
		})
		e := &encoder{name: "fuzz", sock: ours, begin: time.Now(), limits: Limits{Start: 5 * time.Second, First: 5 * time.Second, Picture: 5 * time.Second, Close: time.Second}}
		if err := e.greet(); err != nil {
			t.Fatal(err)
		}
		if err := e.open(small()); err != nil {
			t.Fatal(err)
		}
		copy(e.area.shared.Bytes, written)
		pool := media.NewFrames(small().Input, 1)
		p := pool.Get()
		k, err := e.Encode(p, true)
		p.Release()
		if k != nil {
			if err != nil || len(k.Data) == 0 || k.Key != media.IsKey(k.Data) {
				t.Errorf("%d bytes, key %v: %v", len(k.Data), k.Key, err)
			}
			k.Release()
		}
		if err == nil {
			if _, err = e.SetRate(1000, media.FPS(5)); err == nil {
				t.Error("an answer that nobody gave")
			}
		}
		_ = e.Close()
		wg.Wait()
		if pool.Out() != 0 {
			t.Error("the frame is kept")
		}
	})
}
