package pulse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jfreymuth/pulse/proto"

	"anchord/hal"
)

// Protocol versions (PulseAudio's PROTOCOL file): ours is what proto knows, the oldest is
// PulseAudio 1.0 of 2011, whose stream messages have the fields that are relied on.
const (
	ourVersion    = 32
	oldestVersion = 22
)

// answerTime is how long a server may take for one answer.
const answerTime = time.Second

// conn is a connection to a server. Its one goroutine is proto's reader, which is home when
// close has returned.
type conn struct {
	place place
	nc    net.Conn
	wire  *wire
	c     proto.Client
	up    atomic.Bool   // greeted: its end is told to hooks.closed, and else by dial
	done  chan struct{} // closed by the reader's last callback
}

// dial connects to the first server that answers. Its error says of each place why not,
// and what to do.
func dial(ctx context.Context, cfg Config, on hooks) (*conn, error) {
	list, err := places(cfg)
	if err != nil {
		return nil, err
	}
	key, err := cookie(cfg)
	if err != nil {
		return nil, err
	}
	var refused error // the most telling of all errors
	var tried []string
	for _, p := range list {
		c, err := dialPlace(ctx, p, key, on)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", hal.ErrStopped, context.Cause(ctx))
		}
		if !absent(err) && refused == nil {
			refused = fmt.Errorf("%s: %w", p, err)
		}
		tried = append(tried, p.address)
	}
	if refused != nil {
		return nil, refused
	}
	return nil, fmt.Errorf("no sound server at %s: %w; start PulseAudio or PipeWire for this user, or say where it listens",
		strings.Join(tried, ", "), hal.ErrNoServer)
}

func dialPlace(ctx context.Context, p place, key []byte, on hooks) (*conn, error) {
	d := net.Dialer{Timeout: answerTime}
	nc, err := d.DialContext(ctx, p.network, p.address)
	if err != nil {
		return nil, classify(err)
	}
	c := &conn{place: p, nc: nc, done: make(chan struct{})}
	c.wire = newWire(nc, on)
	c.c.SetTimeout(answerTime)
	c.c.Callback = func(m any) {
		if _, last := m.(*proto.ConnectionClosed); last {
			if on.closed != nil && c.up.Load() {
				on.closed(classify(c.wire.cause()))
			}
			close(c.done)
		} else if on.message != nil {
			on.message(m)
		}
	}
	c.c.Open(c.wire)
	stop := c.closeWith(ctx)
	err = c.greet(key)
	stop()
	if err != nil {
		c.close()
		return nil, err
	}
	c.up.Store(true)
	return c, nil
}

func (c *conn) greet(key []byte) error {
	var r proto.AuthReply
	if err := c.request(&proto.Auth{Version: ourVersion, Cookie: key}, &r); err != nil {
		return err
	}
	if r.Version.Version() < oldestVersion {
		return fmt.Errorf("sound server speaks protocol %d, want %d or later: %w", r.Version.Version(), oldestVersion, hal.ErrUnsupported)
	}
	c.c.SetVersion(r.Version)
	c.wire.version.Store(uint32(c.c.Version().Version()))
	return c.request(&proto.SetClientName{Props: proto.PropList{
		"application.name": proto.PropListString("anchord"),
		"application.id":   proto.PropListString("anchord"),
	}}, &proto.SetClientNameReply{})
}

// request asks the server. Its errors are hal's.
func (c *conn) request(r proto.RequestArgs, reply proto.Reply) error {
	err := c.c.Request(r, reply)
	if errors.Is(err, io.EOF) {
		if cause := c.wire.cause(); cause != nil {
			err = cause
		}
	}
	return classify(err)
}

// sources gives the server's sources and the default one's name.
func (c *conn) sources() (list proto.GetSourceInfoListReply, first string, err error) {
	var info proto.GetServerInfoReply
	if err := c.request(&proto.GetServerInfo{}, &info); err != nil {
		return nil, "", err
	}
	if err := c.request(&proto.GetSourceInfoList{}, &list); err != nil {
		return nil, "", err
	}
	return list, info.DefaultSourceName, nil
}

// closeWith hangs up when ctx ends, which ends all requests, until the returned function
// has been called.
func (c *conn) closeWith(ctx context.Context) (stop func()) {
	ended := make(chan struct{})
	f := context.AfterFunc(ctx, func() { c.nc.Close(); close(ended) })
	return func() {
		if !f() {
			<-ended
		}
	}
}

// close hangs up and waits for the reader. It may be called more than once, not by a hook.
func (c *conn) close() {
	c.nc.Close()
	<-c.done
}

// absent tells whether err says that no server is there at all, which is nothing to
// tell of when another place has one.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR)
}

// classify gives an error of the socket or of the server the meaning that the callers of
// package hal act on.
func classify(err error) error {
	var code proto.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &code):
		switch code {
		case proto.ErrAccessDenied, proto.ErrNoAuthenticationKey:
			return denied(err)
		case proto.ErrDeviceOrEesourceBusy:
			return fmt.Errorf("%w: %w", err, hal.ErrBusy)
		case proto.ErrNotSupported, proto.ErrInvalidArgument, proto.ErrTooLarge:
			return fmt.Errorf("%w: %w", err, hal.ErrUnsupported)
		}
		return fmt.Errorf("%w: %w", err, hal.ErrGone)
	case errors.Is(err, fs.ErrPermission):
		return denied(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("sound server does not answer within %v: %w; restart it", answerTime, hal.ErrNoServer)
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("sound server hung up: %w", hal.ErrGone)
	}
	return fmt.Errorf("%w: %w", err, hal.ErrGone)
}

func denied(err error) error {
	return fmt.Errorf("%w: %w; let the daemon's user into the sound server's group (often pulse-access or audio), or give it the server's cookie", err, hal.ErrDenied)
}
