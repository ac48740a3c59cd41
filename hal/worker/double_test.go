package worker

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/hal/fake"
	"anchord/internal/media"
)

// misbehave is a worker that has a fault: "FAULT N" shows it at picture N, "FAULT" alone at
// the start.
func misbehave(how string) int {
	name, at, later := strings.Cut(how, " ")
	if !later {
		return begin(name)
	}
	n, err := strconv.Atoi(at)
	if err != nil {
		return 9
	}
	if err := Serve(context.Background(), 3, &faulty{Encoders: &fake.Encoders{}, fault: name, at: n}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// begin is for faults before the first answer, and for what is no fault.
func begin(name string) int {
	reply := make([]byte, 4096)
	switch name {
	case "exit":
		return 7
	case "silent":
		forever()
	case "flood": // says more than anybody wants to hear
		for i := range 5000 {
			fmt.Printf("line %d %s\n", i, strings.Repeat("x", 1000))
		}
		return play("fake")
	case "stubborn": // does not go when it is told to
		signal.Ignore(syscall.SIGTERM)
		_ = play("fake")
		forever()
	case "version", "garbage", "nameless", "hello-twice":
		n, err := unix.Read(3, reply)
		if err != nil {
			return 1
		}
		_, serial, _, _ := header(reply[:n])
		var w writer
		w.begin(hello|answer, serial)
		h := helloAnswer{version: Version, name: "double", inputs: []media.PixelFormat{media.YU12}}
		switch name {
		case "version":
			h.version = Version + 1
		case "nameless":
			h.name = ""
		}
		h.put(&w)
		b := w.bytes()
		if name == "garbage" {
			b = []byte("What am I supposed to say to this?")
		}
		_, _ = unix.Write(3, b)
		if name == "hello-twice" {
			_, _ = unix.Write(3, b)
		}
		forever()
	case "parent": // a daemon that has a worker and is killed
		self, _ := os.Executable()
		e := New(Config{Name: "hang", Command: []string{self}, Env: []string{double + "=hang 1"}, Limits: Limits{First: time.Hour}})
		v, c, err := e.Open(context.Background(), small())
		if err != nil {
			return 1
		}
		fmt.Println(v.(*encoder).proc.pid)
		_, _ = v.Encode(media.NewFrames(c.Input, 1).Get(), true)
	}
	return 8
}

// report says what it has, in few lines.
func report() {
	say := func(format string, a ...any) {
		fmt.Fprintln(os.Stderr, strings.Join(strings.Fields(fmt.Sprintf(format, a...)), " "))
	}
	var all []byte
	for _, f := range []string{"status", "limits"} {
		b, _ := os.ReadFile("/proc/self/" + f)
		all = append(all, b...)
	}
	for _, line := range strings.Split(string(all), "\n") {
		for _, w := range []string{"NoNewPrivs", "CapEff", "CapPrm", "Max core", "Max open"} {
			if strings.HasPrefix(line, w) {
				say("%s", line)
			}
		}
	}
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	dir, _ := os.Getwd()
	say("oom_score_adj %s group %d of %d in %s", score, unix.Getpgrp(), os.Getpid(), dir)
	var files string
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, d := range fds {
		if l, err := os.Readlink("/proc/self/fd/" + d.Name()); err == nil {
			files += " file " + d.Name() + " " + l
		}
	}
	say("%s", files)
	for _, v := range os.Environ() {
		say("variable %s", v)
	}
}

func forever() {
	for {
		time.Sleep(time.Hour)
	}
}

// faulty encoders show a fault at one picture.
type faulty struct {
	*fake.Encoders
	fault string
	at    int
}

func (f *faulty) Open(ctx context.Context, c hal.VideoConfig) (hal.VideoEncoder, hal.VideoConfig, error) {
	if f.fault == "busy" {
		return nil, c, fmt.Errorf("open the device: %w", hal.ErrBusy)
	}
	if f.fault == "report" {
		report()
	}
	e, c, err := f.Encoders.Open(ctx, c)
	return &faultyEncoder{VideoEncoder: e, of: f}, c, err
}

type faultyEncoder struct {
	hal.VideoEncoder
	of   *faulty
	n    int
	held []*media.Frame
}

func (e *faultyEncoder) Encode(f *media.Frame, key bool) (*media.Packet, error) {
	if e.n++; e.n < e.of.at {
		return e.VideoEncoder.Encode(f, key)
	}
	// The answer that is due has the number of the message, which counts hello, open, the
	// mapping of the pictures and every picture.
	serial := uint32(3 + e.n)
	var w writer
	say := func(put func()) {
		put()
		_, _ = unix.Write(3, w.bytes())
	}
	good := func(a encodeAnswer) func() {
		return func() {
			w.begin(encode|answer, serial)
			a.put(&w)
		}
	}
	n := uint32(f.Marks[cookie])
	switch e.of.fault {
	case "hang":
		forever()
	case "die":
		os.Exit(3)
	case "crash":
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		forever()
	case "panic":
		panic("a fault")
	case "refuse":
		return nil, fmt.Errorf("no bits today: %w", hal.ErrGone)
	case "garbage":
		_, _ = unix.Write(3, []byte("%&/()=?"))
	case "half": // the first half of a message
		good(encodeAnswer{picture: n, read: n})()
		_, _ = unix.Write(3, w.bytes()[:20])
	case "huge":
		_, _ = unix.Write(3, make([]byte, 100000))
	case "long": // fits, and is longer than it should be
		good(encodeAnswer{picture: n, read: n})()
		w.u32(0)
		_, _ = unix.Write(3, w.bytes())
	case "serial":
		serial += 5
		say(good(encodeAnswer{picture: n, read: n}))
	case "type":
		say(func() { w.begin(rate|answer, serial); putGranted(&w, 5) })
	case "reserved":
		good(encodeAnswer{picture: n, read: n})()
		binary.NativeEndian.PutUint32(w.b[12:], 1)
		_, _ = unix.Write(3, w.bytes())
	case "length": // more than there is room for
		say(good(encodeAnswer{picture: n, read: n, length: 1 << 31}))
	case "future": // a picture that nobody sent
		say(good(encodeAnswer{picture: n + 1, read: n, length: 10}))
	case "past":
		say(good(encodeAnswer{picture: n - 1, read: n, length: 10})) // came already
	case "read-ahead":
		say(good(encodeAnswer{picture: n, read: n + 1}))
	case "keeps": // more pictures than it said
		if len(e.held) <= keeps {
			e.held = append(e.held, f.Retain())
			return nil, nil
		}
		say(good(encodeAnswer{picture: n, read: n - keeps - 1}))
	case "descriptors": // hands over files with its answer
		good(encodeAnswer{picture: n, read: n})()
		_ = unix.Sendmsg(3, w.bytes(), unix.UnixRights(0, 1, 2), nil, 0)
		if e.n < e.of.at+3 {
			forever()
		}
	case "closes": // what it was given
		for fd := range 4 {
			_ = unix.Close(fd)
		}
		for {
			_ = unix.Nanosleep(&unix.Timespec{Sec: 100}, nil)
		}
	case "truncate": // takes memory away from under us
		for fd := range 64 {
			if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err == nil && seals != 0 {
				if err := unix.Ftruncate(fd, 0); err == nil {
					fmt.Fprintln(os.Stderr, "cut off", fd)
				}
			}
		}
		return e.VideoEncoder.Encode(f, key)
	case "scribble": // a packet that is none, of the right length
		p := media.NewPacket(nil).Lend()
		p.Data, p.Marks = make([]byte, 5000), f.Marks
		return p, nil
	case "nothing": // for ever
		return nil, nil
	case "slow":
		time.Sleep(120 * time.Millisecond)
		return e.VideoEncoder.Encode(f, key)
	case "late": // three packets behind, as hardware may be; the pictures are read that long
		e.held = append(e.held, f.Retain())
		if len(e.held) <= 3 {
			return nil, nil
		}
		defer e.held[0].Release()
		old := e.held[0]
		e.held = e.held[1:]
		return e.VideoEncoder.Encode(old, key)
	case "orphan": // leaves somebody behind who has all of its files
		cmd := exec.Command("/bin/sleep", "1000")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.ExtraFiles = []*os.File{os.NewFile(3, "socket")}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stderr, "left behind", cmd.Process.Pid)
		os.Exit(0)
	}
	return e.VideoEncoder.Encode(f, key)
}

func (e *faultyEncoder) Close() error {
	for _, f := range e.held {
		f.Release()
	}
	return e.VideoEncoder.Close()
}

// small is what most tests open.
func small() hal.VideoConfig {
	return hal.VideoConfig{Input: media.Format{Pixel: media.YU12, Size: media.Size{W: 320, H: 240}}, Rate: media.FPS(30), Bitrate: 1e6}
}
