package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"anchord/internal/run"
)

// Socket serves the text protocol on a Unix socket. Who may use it is a matter of the
// socket's mode.
type Socket struct {
	Path  string
	Table Table
	Log   *slog.Logger
	Tally *Tally // counts the requests; nil: they are not counted
	// Ready is called when the socket is open.
	Ready func()
}

// Limits of the socket.
const (
	maxConns = 32
	idleTime = 10 * time.Minute // a client that says nothing for so long is let go
	sendTime = 5 * time.Second  // a client that does not read for so long is let go
)

// Run serves until ctx ends. It removes a socket that a dead daemon left behind, and
// refuses a path at which something else is, or at which a daemon answers.
func (s *Socket) Run(ctx context.Context) error {
	if err := s.clear(); err != nil {
		return err
	}
	l, err := net.Listen("unix", s.Path)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.Path, err)
	}
	defer l.Close()
	if err := os.Chmod(s.Path, 0o660); err != nil {
		return fmt.Errorf("set the mode of %s: %w", s.Path, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { l.Close() })
	s.Log.Info("control socket is open", "path", s.Path)
	if s.Ready != nil {
		s.Ready()
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	places := make(chan struct{}, maxConns)
	for short := 0; ; {
		c, err := l.Accept()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) {
			// Others have taken all; the client waits until something is given back.
			if short++; short == 1 {
				s.Log.Warn("control clients have to wait", "err", err)
			}
			if err := (run.Backoff{Base: 10 * time.Millisecond, Max: time.Second}).Wait(ctx, short, nil); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("accept on %s: %w", s.Path, err)
		}
		short = 0
		select {
		case places <- struct{}{}:
		default:
			c.SetWriteDeadline(time.Now().Add(time.Second))
			fmt.Fprintf(c, "ERR %d %s %d clients are connected already\n", CodeBusy, slug(CodeBusy), maxConns)
			c.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-places }()
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			defer c.Close()
			p := &patient{Conn: c}
			if err := s.Table.talk(s.Tally.counted(ctx, "socket"), peer(c), p, p); err != nil && ctx.Err() == nil {
				s.Log.Debug("control client left", "err", err)
			}
		})
	}
}

// clear makes room for the socket.
func (s *Socket) clear() error {
	dir := filepath.Dir(s.Path)
	if err := makeFolder(dir); err != nil {
		return fmt.Errorf("make the control socket's folder: %w; or choose another in [control] socket", err)
	}
	d, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the control socket's folder: %w", err)
	}
	if st, ok := d.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return fmt.Errorf("the control socket's folder %s belongs to another user (%d): choose another in [control] socket", dir, st.Uid)
	}
	f, err := os.Lstat(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at the control socket: %w", err)
	case f.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is there and is not a socket: move it away, or choose another path in [control] socket", s.Path)
	}
	c, err := net.DialTimeout("unix", s.Path, time.Second)
	if err == nil {
		c.Close()
		return fmt.Errorf("another daemon answers on %s: stop it, or choose another path in [control] socket", s.Path)
	}
	// Only a refusal says that nobody listens; a daemon with too many clients gives
	// EAGAIN, one of another user EACCES.
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("see who listens on %s: %w: stop the other daemon, or choose another path in [control] socket", s.Path, err)
	}
	if err := os.Remove(s.Path); err != nil {
		return fmt.Errorf("remove the dead control socket: %w", err)
	}
	return nil
}

// peer gives who is at the other end. Whoever may open the socket may do everything: that
// is what its mode is for.
func peer(c net.Conn) Caller {
	by := Caller{"socket", Admin}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return by
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return by
	}
	// https://man7.org/linux/man-pages/man7/unix.7.html (SO_PEERCRED)
	if e := raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			by.Name = fmt.Sprintf("socket, uid %d", cred.Uid)
		}
	}); e != nil {
		return by
	}
	return by
}

// patient bounds how long a client may say nothing, and leave unread what it is sent.
type patient struct {
	net.Conn
	listening atomic.Bool
}

// Read gives a client that listens to events all the time it likes.
func (p *patient) Read(b []byte) (int, error) {
	var until time.Time
	if !p.listening.Load() {
		until = time.Now().Add(idleTime)
	}
	if err := p.SetReadDeadline(until); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

func (p *patient) listens(on bool) { p.listening.Store(on) }

// patience can only fail on a connection that is closed, which writes then find.
func (p *patient) patience(d time.Duration) { _ = p.SetWriteDeadline(time.Now().Add(d)) }

func (p *patient) end() { p.Close() }
