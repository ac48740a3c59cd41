package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// encoder is an encoder in a worker. It implements hal.VideoEncoder.
type encoder struct {
	name   string
	log    *slog.Logger
	limits Limits
	proc   *process // nil in tests that play the worker themselves
	sock   *socket
	w      writer
	serial uint32

	hello    helloAnswer
	config   hal.VideoConfig // granted
	pictures *pictures
	area     *area
	sets     media.ParameterSets

	picture uint32 // the newest one's number; the first is 1
	owed    bool   // a key picture was asked for and has not come yet
	begun   bool   // a packet has come
	silent  int    // pictures since the last packet
	quiet   media.Time
	taken   [2 * maxKeeps]taken

	opening context.Context // nil once it is open
	begin   time.Time       // of the process
	failed  error           // why there is no worker any more
	onFail  func(error)
}

// taken is what is remembered of a picture that was sent.
type taken struct {
	picture uint32
	coded   bool         // its packet has come
	frame   *media.Frame // while the worker may read it
	size    media.Size
	turn    media.Turn
	marks   media.Marks
}

// greet asks the worker what it is.
func (e *encoder) greet() error {
	body, err := e.ask(e.limits.Start, hello, -1, helloAsk{Version, Version}.put)
	if err != nil {
		return err
	}
	if !e.hello.get(&body) {
		return e.fail(malformed(hello | answer))
	}
	if e.hello.version != Version {
		return e.fail(fmt.Errorf("it speaks version %d of the protocol, and here it is %d: %w", e.hello.version, Version, hal.ErrUnsupported))
	}
	return nil
}

// open asks for the encoder.
func (e *encoder) open(c hal.VideoConfig) error {
	a, err := newArea(c.Input)
	if err != nil {
		return e.fail(err)
	}
	e.area, e.pictures = a, newPictures(c.Input, e.hello)
	body, err := e.ask(e.limits.Start-time.Since(e.begin), open, a.shared.FD, openAsk{config: c, area: uint32(len(a.shared.Bytes))}.put)
	if err != nil {
		return err
	}
	g := getConfig(&body)
	if !body.end() || !sane(g) || g.Input.Pixel != c.Input.Pixel || g.Input.Size != c.Input.Size {
		return e.fail(malformed(open | answer))
	}
	g.Input.Colour = g.Input.Colour.Guess(g.Input.Size)
	e.config = g
	return nil
}

// Encode codes one picture; see hal.VideoEncoder. An error with hal.ErrStuck means that the
// worker did not answer in time, one with hal.ErrGone that it ended; it is killed then.
func (e *encoder) Encode(f *media.Frame, key bool) (*media.Packet, error) {
	if e.failed != nil {
		return nil, e.wrap("encode picture", e.failed)
	}
	if err := e.check(f); err != nil {
		return nil, e.wrap("encode picture", err)
	}
	e.owed = e.owed || key
	at, spare, ok := e.area.reserve()
	if !ok {
		return nil, nil // readers have all packets: as if there were no bits for the picture
	}
	p, err := e.encode(f, at, spare)
	if spare != nil && p != spare {
		spare.Release()
	}
	if err != nil {
		e.owed = true // what the decoders have may not be what the encoder has
		return nil, e.wrap("encode picture", err)
	}
	return p, nil
}

func (e *encoder) encode(f *media.Frame, at int, spare *media.Packet) (*media.Packet, error) {
	n := e.picture + 1
	t := &e.taken[n%uint32(len(e.taken))]
	if t.frame != nil {
		return nil, e.fail(fmt.Errorf("%w: picture %d is still read when %d is sent", errProtocol, t.picture, n))
	}
	if err := e.pictures.tidy(n, e.manage); err != nil {
		return nil, err
	}
	g, where, err := e.pictures.place(f, n, e.manage)
	if err != nil {
		return nil, err
	}
	e.picture = n
	*t = taken{picture: n, frame: g, size: f.Size, turn: f.Turn, marks: f.Marks}
	limit := e.limits.Picture
	if !e.begun {
		limit = e.limits.First
	}
	m := encodeAsk{picture: n, key: e.owed, place: where, at: uint32(at), room: uint32(e.area.room), captured: f.Marks[media.Captured]}
	body, err := e.ask(limit, encode, -1, m.put)
	if err != nil {
		if e.failed == nil { // it says no, and does not read the picture
			t.release()
		}
		return nil, err
	}
	var a encodeAnswer
	if !a.get(&body) || int(a.length) > e.area.room || n-a.read > e.hello.keeps {
		return nil, e.fail(malformed(encode | answer))
	}
	for i := range e.taken {
		if t := &e.taken[i]; int32(t.picture-a.read) <= 0 {
			t.release()
		}
	}
	p, err := e.packet(a, at, spare)
	if p == nil && err == nil {
		err = e.patience()
	}
	return p, err
}

// release says that the worker does not read the picture any more.
func (t *taken) release() {
	if t.frame != nil {
		t.frame.Release()
		t.frame = nil
	}
}

// patience ends with a worker that answers and never gives a packet: as many pictures as
// an encoder may leave out to keep its bit rate have gone in, for as long as a first
// picture may take.
func (e *encoder) patience() error {
	now := media.Now()
	if e.silent++; e.silent == 1 {
		e.quiet = now
	}
	if d := now.Sub(e.quiet); e.silent > mostSkipped && d > e.limits.First {
		return e.fail(fmt.Errorf("%d pictures in %v gave nothing: %w", e.silent, d.Round(time.Millisecond), hal.ErrStuck))
	}
	return nil
}

const mostSkipped = 30

// packet makes a packet of what the worker wrote, and believes nothing about it. Most are
// lent where they are; key pictures that lack their parameter sets get them.
func (e *encoder) packet(a encodeAnswer, at int, spare *media.Packet) (*media.Packet, error) {
	if a.length == 0 {
		return nil, nil
	}
	t := &e.taken[a.picture%uint32(len(e.taken))]
	if t.picture != a.picture || a.picture == 0 || t.coded {
		return nil, e.fail(fmt.Errorf("%w: a packet of picture %d, which was not sent, or long ago, or came already", errProtocol, a.picture))
	}
	t.coded = true
	data := e.area.bytes(at, int(a.length))
	key, whole, usable := e.sets.Look(data)
	if !usable {
		return nil, nil // nothing but parameter sets, or a key picture that nobody can begin with
	}
	p := spare
	switch {
	case p == nil && whole:
		p = e.area.lend(at, len(data))
	case p == nil:
		if p = e.area.copies.Get(); p == nil {
			e.owed = true // it is lost, and with it what follows
			return nil, nil
		}
		fallthrough
	default:
		p.Data, _, _ = e.sets.Append(p.Data, data)
	}
	e.begun, e.silent = true, 0
	if key {
		e.owed = false
	}
	p.Key, p.Size, p.Turn, p.Marks = key, t.size, t.turn, t.marks
	p.Marks[media.Encoded] = media.Now()
	return p, nil
}

// check makes sure that a picture is one, and all of it there: the worker reads what it is
// told to read.
func (e *encoder) check(f *media.Frame) error {
	in := e.config.Input
	if f.Pixel != in.Pixel || f.Size != in.Size {
		return fmt.Errorf("it is %s, the encoder is open for %s: %w", f.Format, in, hal.ErrUnsupported)
	}
	for i, n := range planes(in) {
		if n.W > 0 && (f.Stride[i] < n.W || f.Stride[i] > 1<<20 || len(f.Planes[i]) < f.Stride[i]*(n.H-1)+n.W) {
			return fmt.Errorf("%s: plane %d has %d bytes with lines of %d, too few: %w", f.Format, i, len(f.Planes[i]), f.Stride[i], hal.ErrUnsupported)
		}
	}
	return nil
}

// planes gives the width in bytes and the lines of each plane; zero where there is none.
func planes(f media.Format) [3]media.Size {
	w, h := f.Size.W, f.Size.H
	c := media.Size{W: (w + 1) / 2, H: (h + 1) / 2}
	switch f.Pixel {
	case media.YU12:
		return [3]media.Size{f.Size, c, c}
	case media.NV12:
		return [3]media.Size{f.Size, {W: 2 * c.W, H: c.H}}
	case media.YUYV:
		return [3]media.Size{{W: 4 * c.W, H: h}}
	}
	return [3]media.Size{}
}

// SetRate changes bit rate and frame rate; see hal.VideoEncoder.
func (e *encoder) SetRate(bitrate int, r media.Rate) (granted int, err error) {
	if e.failed != nil {
		return 0, e.wrap("set bit rate", e.failed)
	}
	if bitrate <= 0 || r.Num < 0 || r.Den < 0 {
		return e.config.Bitrate, fmt.Errorf("set bit rate: %d bit/s at %v frames/s cannot be", bitrate, r)
	}
	body, err := e.ask(e.limits.Rate, rate, -1, rateAsk{bitrate, r}.put)
	if err != nil {
		return e.config.Bitrate, e.wrap("set bit rate", err)
	}
	got, ok := getGranted(&body)
	if !ok {
		return e.config.Bitrate, e.wrap("set bit rate", e.fail(malformed(rate|answer)))
	}
	e.config.Bitrate = got
	return got, nil
}

// Close ends the worker and gives everything back: within Limits.Close if it still
// answers, at once otherwise. A second Close does nothing. The error says that the worker
// had to be killed; one that cannot even be killed is left behind, and counted.
func (e *encoder) Close() error {
	if e.sock == nil {
		return nil
	}
	var err error
	if e.failed == nil {
		_, err = e.ask(e.limits.Close, closing, -1, func(*writer) {})
	}
	e.sock.close()
	if e.proc != nil {
		if e.failed == nil && !e.proc.wait(e.limits.Close) {
			err = fmt.Errorf("it did not end within %v: %w", e.limits.Close, hal.ErrStuck)
		}
		e.proc.kill()
		e.proc.wait(afterKill)
	}
	e.home()
	e.sock = nil
	if e.failed == nil {
		e.failed = hal.ErrStopped
	}
	return e.wrap("close encoder", err)
}

// home gives back everything that the worker had.
func (e *encoder) home() {
	for i := range e.taken {
		e.taken[i].release()
	}
	if e.pictures != nil {
		e.pictures.close()
		e.pictures = nil
	}
	if e.area != nil {
		e.area.close()
		e.area = nil
	}
}

// manage asks for memory to be mapped or unmapped.
func (e *encoder) manage(k kind, m mapAsk, fd int) error {
	body, err := e.ask(e.limits.Picture, k, fd, m.put)
	if err == nil && !body.end() {
		err = e.fail(malformed(k | answer))
	}
	return err
}

// ask sends a message and waits for the answer. An error that is the worker's own word
// leaves it alive; all others end it.
func (e *encoder) ask(limit time.Duration, k kind, fd int, put func(*writer)) (reader, error) {
	e.serial++
	e.w.begin(k, e.serial)
	put(&e.w)
	err := e.sock.write(e.w.bytes(), fd)
	if err == nil {
		err = e.sock.within(limit)
	}
	if err == nil && e.opening != nil {
		err = e.opening.Err() // it ends later: then the socket is rung
	}
	var b []byte
	if err == nil {
		b, err = e.sock.read()
	}
	if err != nil {
		return reader{}, e.fail(e.explain(limit, err))
	}
	got, serial, body, err := header(b)
	switch {
	case err != nil:
		return reader{}, e.fail(err)
	case serial != e.serial:
		return reader{}, e.fail(fmt.Errorf("%w: an answer to message %d when %d was sent", errProtocol, serial, e.serial))
	case got == refused|answer:
		no, ok := getRefusal(&body)
		if !ok {
			return reader{}, e.fail(malformed(got))
		}
		return reader{}, no
	case got != k|answer:
		return reader{}, e.fail(fmt.Errorf("%w: a message %v instead of %v", errProtocol, got, k|answer))
	}
	return body, nil
}

// refusedBy tells whether an error is the worker's own word.
func refusedBy(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// explain says what an error of the socket means.
func (e *encoder) explain(limit time.Duration, err error) error {
	switch {
	case e.opening != nil && e.opening.Err() != nil:
		return fmt.Errorf("%w: %w", hal.ErrStopped, e.opening.Err())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer for %v: %w", limit.Round(time.Millisecond), hal.ErrStuck)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("it does not read what it is sent: %w", hal.ErrStuck)
	case errors.Is(err, errEnded), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		if e.proc != nil {
			if why := e.proc.why(); why != "" {
				return fmt.Errorf("%s: %w", why, hal.ErrGone)
			}
		}
		return fmt.Errorf("it closed its socket: %w", hal.ErrGone)
	}
	return err
}

// fail notes that there is no talking to the worker any more, and kills it.
func (e *encoder) fail(err error) error {
	if e.failed == nil {
		e.failed = err
		if e.proc != nil {
			e.proc.kill()
		}
		if e.onFail != nil {
			e.onFail(err)
		}
	}
	return err
}

func (e *encoder) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: worker %s: %w", what, e.name, err)
}
