package pulse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jfreymuth/pulse/proto"
	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/run"
)

// Watch implements hal.Finder: changed is called when a source comes or goes, when another
// one becomes the default, and when the server comes or goes. It returns nil when ctx
// ends, an error only when there is no address at which a server could be.
//
// Without a server it waits for the socket's file to appear. Tries that fail are
// repeated ever later, and at once when something happens to the file.
func (m *Microphones) Watch(ctx context.Context, changed func()) error {
	list, err := places(m.c)
	if err != nil {
		return fmt.Errorf("watch microphones: %w", err)
	}
	backoff := run.Backoff{Base: 100 * time.Millisecond, Max: 10 * time.Second}
	told, tries := false, 0
	const settled = 10 * time.Second // a server that lives shorter is no reason for haste
	for ctx.Err() == nil {
		files := watchFiles(list) // before the try, so that nothing is missed after it
		begun := time.Now()
		listened, err := m.listen(ctx, changed)
		switch {
		case ctx.Err() != nil:
		case listened:
			m.c.Log.Warn("sound server is gone", "err", err)
			changed()
			told = true
			if time.Since(begun) >= settled {
				tries = 0
			}
		case !told: // we listen now: for a server
			m.c.Log.Info("waiting for a sound server", "err", err)
			changed()
			told = true
		}
		tries++
		if files.wait(ctx, backoff.Delay(tries)) {
			tries = 0
		}
		files.close()
	}
	return nil
}

// listen passes on what one server says until it goes. It tells whether there was one.
func (m *Microphones) listen(ctx context.Context, changed func()) (listened bool, err error) {
	happened := make(chan struct{}, 1)
	ended := make(chan error, 1)
	c, err := dial(ctx, m.c, hooks{
		message: func(msg any) {
			if e, ok := msg.(*proto.SubscribeEvent); ok && isPlug(e.Event) {
				poke(happened)
			}
		},
		closed: func(err error) { ended <- err },
	})
	if err != nil {
		return false, err
	}
	defer c.close()
	defer c.closeWith(ctx)()
	if err := c.request(&proto.Subscribe{Mask: proto.SubscriptionMaskSource | proto.SubscriptionMaskServer}, nil); err != nil {
		return false, err
	}
	changed()
	for {
		select {
		case <-happened:
			changed()
		case err := <-ended:
			return true, err
		case <-ctx.Done():
			return true, hal.ErrStopped
		}
	}
}

// isPlug tells a source that came or went, or another default, from a volume that was turned.
func isPlug(e proto.SubscriptionEventType) bool {
	switch e.GetFacility() {
	case proto.EventSource:
		return e.GetType() != proto.EventChange
	case proto.EventServer:
		return true
	}
	return false
}

// files watches for sockets that appear, by inotify(7).
type files struct {
	f     *os.File            // nil when the kernel gives no watch
	names map[string]struct{} // of what may appear in watched directories
	buf   []byte
}

// watchFiles watches the deepest directory that is there on the way to each socket.
func watchFiles(list []place) *files {
	w := &files{names: make(map[string]struct{})}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return w // wait falls back on time
	}
	for _, p := range list {
		if p.network != "unix" {
			continue
		}
		for path := p.address; path != "/"; path = filepath.Dir(path) {
			_, err := unix.InotifyAddWatch(fd, filepath.Dir(path),
				unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ATTRIB|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_ONLYDIR|unix.IN_MASK_ADD)
			if err == nil {
				w.names[filepath.Base(path)] = struct{}{}
				break
			}
		}
	}
	w.f = os.NewFile(uintptr(fd), "inotify")
	w.buf = make([]byte, 16<<10)
	return w
}

// wait waits for d, or until one of the files changed (then it gives true), or until ctx
// ends.
func (w *files) wait(ctx context.Context, d time.Duration) bool {
	if w.f == nil || w.f.SetReadDeadline(time.Now().Add(d)) != nil {
		_ = run.Sleep(ctx, d, nil) // the caller sees the context
		return false
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = w.f.SetReadDeadline(time.Unix(1, 0)) // cannot fail when it did not before
		close(ended)
	})
	defer func() {
		if !stop() {
			<-ended
		}
	}()
	for {
		n, err := w.f.Read(w.buf)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				_ = run.Sleep(ctx, d, nil)
			}
			return false
		}
		if w.matter(w.buf[:n]) {
			return true
		}
	}
}

// matter tells whether events (struct inotify_event, one after another) are about a name on
// the way to a socket, or about the directories themselves.
func (w *files) matter(b []byte) bool {
	const head = unix.SizeofInotifyEvent
	for len(b) >= head {
		mask := binary.NativeEndian.Uint32(b[4:])
		n := int(binary.NativeEndian.Uint32(b[12:]))
		if n < 0 || n > len(b)-head {
			return true
		}
		name := strings.TrimRight(string(b[head:head+n]), "\x00")
		if _, ok := w.names[name]; ok || mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_Q_OVERFLOW|unix.IN_IGNORED) != 0 {
			return true
		}
		b = b[head+n:]
	}
	return false
}

func (w *files) close() {
	if w.f != nil {
		w.f.Close()
	}
}
