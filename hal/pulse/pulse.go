// Package pulse finds and records microphones of a PulseAudio server, or of PipeWire's
// pipewire-pulse, which speaks the same protocol.
//
// A microphone is recorded from the source that was asked for and from no other: the
// server is told not to move the stream, and each event is checked against the source's
// index and name. A stream that can not go on ends with an error within milliseconds.
//
// Only package proto of github.com/jfreymuth/pulse is used, behind a filter (wire) that
// lets nothing through which its decoder could not stand.
package pulse

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/jfreymuth/pulse/proto"

	"anchord/hal"
)

// Config says which server is used. The zero Config is the server that other programs of
// the same user find.
type Config struct {
	// Server is where the server listens, as in $PULSE_SERVER
	// (https://www.freedesktop.org/wiki/Software/PulseAudio/Documentation/User/ServerStrings/):
	// "unix:/path", "/path", or "tcp:host:port", several with spaces between them. TCP is
	// used when it is written here only, never from the environment: sound over a network
	// is not encrypted. Empty: $PULSE_SERVER, else $PULSE_RUNTIME_PATH/native,
	// $XDG_RUNTIME_DIR/pulse/native, /run/user/<uid>/pulse/native, /run/pulse/native,
	// /var/run/pulse/native and ~/.config/pulse/<machine>-runtime/native, the first that
	// answers.
	Server string
	// Cookie is the file with the server's key. Empty: $PULSE_COOKIE, else
	// ~/.config/pulse/cookie and ~/.pulse-cookie; a server that knows our user by its
	// socket needs none.
	Cookie string
	// Log gets what an operator should know. nil: silent.
	Log *slog.Logger
}

// Microphones is a sound server's microphones. It is safe for use by many goroutines; each
// call has a connection of its own.
type Microphones struct{ c Config }

var _ hal.Microphones = (*Microphones)(nil)

// New makes a finder; it opens nothing.
func New(c Config) *Microphones {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Microphones{c}
}

// List gives the server's sources, the default one first and the others by name. Monitors,
// which record what is played, are no microphones and left out. Errors: hal.ErrGone
// when no server answers, hal.ErrDenied.
func (m *Microphones) List(ctx context.Context) ([]hal.Device, error) {
	c, err := dial(ctx, m.c, hooks{})
	if err != nil {
		return nil, fmt.Errorf("list microphones: %w", err)
	}
	defer c.close()
	defer c.closeWith(ctx)()
	sources, first, err := c.sources()
	if err != nil {
		if ctx.Err() != nil {
			err = hal.ErrStopped
		}
		return nil, fmt.Errorf("list microphones: %w", err)
	}
	list := make([]hal.Device, 0, len(sources))
	for _, s := range sources {
		if !isMonitor(s) {
			list = append(list, device(s))
		}
	}
	slices.SortFunc(list, func(a, b hal.Device) int {
		if (a.ID == first) != (b.ID == first) {
			if a.ID == first {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return list, nil
}

// Open connects to the server and looks for the source d.Node (d.ID when that is empty).
// Errors: hal.ErrGone when there is no such source or no server, hal.ErrDenied,
// hal.ErrUnsupported for a monitor.
func (m *Microphones) Open(ctx context.Context, d hal.Device) (hal.Microphone, error) {
	name := cmp.Or(d.Node, d.ID)
	mic := newMic(name, m.c.Log)
	if err := mic.open(ctx, m.c); err != nil {
		if ctx.Err() != nil {
			err = hal.ErrStopped
		}
		return nil, fmt.Errorf("open microphone %s: %w", name, err)
	}
	return mic, nil
}

func device(s *proto.GetSourceInfoReply) hal.Device {
	return hal.Device{
		ID:   s.SourceName,
		Name: cmp.Or(s.Device, property(s, "device.product.name"), s.SourceName),
		Node: s.SourceName,
		Port: cmp.Or(property(s, "device.bus_path"), property(s, "sysfs.path")),
	}
}

// isMonitor tells whether s records what is played, in any of the three ways in which a
// server says so.
func isMonitor(s *proto.GetSourceInfoReply) bool {
	return s.MonitorSourceIndex != proto.Undefined || property(s, "device.class") == "monitor" ||
		strings.HasSuffix(s.SourceName, ".monitor")
}

func property(s *proto.GetSourceInfoReply, key string) string {
	return strings.TrimRight(string(s.Properties[key]), "\x00")
}
