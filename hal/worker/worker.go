// Package worker encodes in a process of its own. Hangs in the kernel and in vendors'
// libraries, their crashes and their leaks stay in that process: it is given a time for
// every answer, killed when it does not keep it, and left behind when it cannot even be
// killed. docs/encoders.md is the protocol, for those who write a worker.
//
// New gives the daemon's side, which is a hal.VideoEncoders like any other; Serve is the
// worker's side for an encoder that is written in Go.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// Config is what Encoders need.
type Config struct {
	Log *slog.Logger // may be nil
	// Name is a short word for commands and logs.
	Name string
	// Command is the program, by its whole path, and its arguments. It speaks the protocol on
	// descriptor 3; what it writes to descriptors 1 and 2 goes to the log.
	Command []string
	// Self says that the program is the one that runs, and Command[0] only a name for it: a
	// file that is replaced meanwhile does not matter.
	Self bool
	// Env is added to the few variables that a worker gets: PATH and LD_LIBRARY_PATH.
	Env []string
	// Inputs are the pixel formats that it takes, best first. When there are none a worker
	// is asked for them once.
	Inputs []media.PixelFormat
	// Limits of zero are the usual ones.
	Limits Limits

	signal func(pid int, s unix.Signal) error // for tests
}

// Limits are how long a worker may take.
type Limits struct {
	Start   time.Duration // from its start until the encoder is open: 3 s
	First   time.Duration // for a picture before the first packet has come: 2 s
	Picture time.Duration // for every other picture: 500 ms
	Rate    time.Duration // for another bit rate: 1 s
	Close   time.Duration // to end by itself: 500 ms
}

// Encoders opens encoders, each in a process of its own. It implements hal.VideoEncoders.
type Encoders struct {
	c Config

	mu     sync.Mutex
	inputs []media.PixelFormat
	status Status
	living []*process // until they are gone: killing one is not enough
}

var _ hal.VideoEncoders = (*Encoders)(nil)

// Status counts what became of the workers of one kind.
type Status struct {
	Started uint64
	Failed  uint64 // did not answer, ended by themselves, or broke the protocol
	Last    error  // why the last of them failed
	// Left are workers that were killed and hang in the kernel: their devices are taken until
	// they are gone, and no other is opened meanwhile.
	Left int
}

// New makes Encoders. It starts nothing.
func New(c Config) *Encoders {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for _, l := range []struct {
		d     *time.Duration
		usual time.Duration
	}{
		{&c.Limits.Start, 3 * time.Second}, {&c.Limits.First, 2 * time.Second}, {&c.Limits.Picture, 500 * time.Millisecond},
		{&c.Limits.Rate, time.Second}, {&c.Limits.Close, 500 * time.Millisecond},
	} {
		if *l.d <= 0 {
			*l.d = l.usual
		}
	}
	if c.signal == nil {
		c.signal = unix.Kill
	}
	return &Encoders{c: c, inputs: c.Inputs}
}

// Name is the configured one.
func (e *Encoders) Name() string { return e.c.Name }

// Inputs gives the pixel formats that the worker takes. If nobody has said so yet, a
// worker is started to ask, within Limits.Start; there are none when it does not answer.
func (e *Encoders) Inputs() []media.PixelFormat {
	e.mu.Lock()
	known := e.inputs
	e.mu.Unlock()
	if len(known) > 0 {
		return known
	}
	v, err := e.start(context.Background())
	if err != nil {
		e.c.Log.Warn("encoder's worker does not say what it takes", "encoder", e.c.Name, "err", err)
		return nil
	}
	if err := v.Close(); err != nil {
		e.c.Log.Warn("encoder's worker ended badly", "encoder", e.c.Name, "err", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.inputs
}

// Status gives the counts. It may wait a moment for a worker that was just killed.
func (e *Encoders) Status() Status {
	e.mu.Lock()
	s, living := e.status, slices.Clone(e.living)
	e.mu.Unlock()
	for _, p := range living {
		if p.hangs() {
			s.Left++
		}
	}
	return s
}

// hanging gives the number of a process that was killed and hangs in the kernel, or 0.
func (e *Encoders) hanging() int {
	e.mu.Lock()
	living := slices.Clone(e.living)
	e.mu.Unlock()
	for _, p := range living {
		if p.hangs() {
			return p.pid
		}
	}
	return 0
}

// failed notes that a worker had to be given up.
func (e *Encoders) failed(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.Failed++
	e.status.Last = err
}

// gone notes that a process is.
func (e *Encoders) gone(p *process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := slices.Index(e.living, p); i >= 0 {
		e.living = slices.Delete(e.living, i, i+1)
	}
}

// Open starts a worker and has it open an encoder. Errors: those of the worker, with hal's
// sentinels; hal.ErrStuck when it does not answer, hal.ErrGone when it ends, hal.ErrBusy
// while an earlier one hangs in the kernel and holds the device.
func (e *Encoders) Open(ctx context.Context, c hal.VideoConfig) (hal.VideoEncoder, hal.VideoConfig, error) {
	if !sane(c) || c.Input.Bytes() == 0 {
		return nil, c, fmt.Errorf("open worker %s for %v, %v frames/s, %d bit/s: %w", e.c.Name, c.Input, c.Rate, c.Bitrate, hal.ErrUnsupported)
	}
	v, err := e.start(ctx)
	if err != nil {
		return nil, c, err
	}
	stop := context.AfterFunc(ctx, v.sock.ring)
	err = v.open(c)
	if !stop() && err == nil {
		err = v.fail(fmt.Errorf("%w: %w", hal.ErrStopped, ctx.Err()))
	}
	v.opening = nil
	if err != nil {
		err = v.wrap("open encoder", err)
		return nil, c, errors.Join(err, v.Close())
	}
	return v, v.config, nil
}

// start starts a worker and asks what it is.
func (e *Encoders) start(ctx context.Context) (*encoder, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("start worker %s: %w: %w", e.c.Name, hal.ErrStopped, ctx.Err())
	}
	if pid := e.hanging(); pid != 0 {
		return nil, fmt.Errorf("start worker %s: an earlier one, process %d, was killed and hangs in the kernel: %w until it is gone (restart the box if it stays)",
			e.c.Name, pid, hal.ErrBusy)
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, fmt.Errorf("start worker %s: %w", e.c.Name, err)
	}
	p, err := e.spawn(theirs)
	if err != nil {
		ours.close()
		return nil, fmt.Errorf("start worker %s: %w", e.c.Name, err)
	}
	v := &encoder{name: e.c.Name, log: e.c.Log, limits: e.c.Limits, proc: p, sock: ours, opening: ctx, begin: time.Now(), onFail: e.failed}
	stop := context.AfterFunc(ctx, ours.ring)
	err = v.greet()
	if !stop() && err == nil {
		err = v.fail(fmt.Errorf("%w: %w", hal.ErrStopped, ctx.Err()))
	}
	if err != nil {
		err = v.wrap("start encoder", err)
		return nil, errors.Join(err, v.Close())
	}
	e.mu.Lock()
	e.inputs = v.hello.inputs
	e.mu.Unlock()
	return v, nil
}

// spawn starts the program with its end of the socket.
func (e *Encoders) spawn(socket *os.File) (*process, error) {
	if len(e.c.Command) == 0 {
		_ = socket.Close()
		return nil, errors.New("no program is named")
	}
	cmd := &exec.Cmd{Path: e.c.Command[0], Args: e.c.Command, Dir: "/", Env: environment(e.c.Env), ExtraFiles: []*os.File{socket}}
	if e.c.Self {
		cmd.Path = "/proc/self/exe"
	}
	// A group of its own: what is typed at a terminal is not meant for it, and what it
	// starts is killed with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{signal: e.c.signal, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() { // waited for by process.wait, as long as is good; for ever is not
		p.live(cmd, e.c.Log.With("encoder", e.c.Name), started)
		e.gone(p)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.status.Started++
	select {
	case <-p.ended:
	default:
		e.living = append(e.living, p)
	}
	e.mu.Unlock()
	return p, nil
}

// environment is what a worker may know of ours.
func environment(more []string) []string {
	env := []string{} // nil would mean all
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "PATH=") || strings.HasPrefix(v, "LD_LIBRARY_PATH=") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}
