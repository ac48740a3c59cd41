package main

import (
	"log/slog"
	"net"
	"net/url"
	"sync"

	"anchord/rtc"
)

// watch says where a browser shows the embedded room, as soon as there is both a page and
// a picture on it: whichever comes last, so that the line is the last of a start.
type watch struct {
	log *slog.Logger
	// host stands for this machine where the listener is open on all addresses; empty:
	// the loopback address.
	host string

	mu   sync.Mutex
	addr net.Addr // of the listener that carries the page; nil: not open yet
	room string   // that has a picture, and was not said; empty: none
}

// serves notes the listener that carries the page.
func (w *watch) serves(a net.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addr = a
	w.say()
}

// shows notes that the first picture since the room was entered is out.
func (w *watch) shows(room string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room = room
	w.say()
}

func (w *watch) say() {
	if w.addr == nil || w.room == "" {
		return
	}
	w.log.Info("watch here", "url", pageURL(w.addr, w.host, w.room))
	w.room = ""
}

// pageURL gives the address of a room's page on a listener.
func pageURL(a net.Addr, host, room string) string {
	h, port, err := net.SplitHostPort(a.String())
	if err != nil {
		h = a.String()
	}
	if ip := net.ParseIP(h); ip != nil && ip.IsUnspecified() {
		if h = host; h == "" {
			h = "127.0.0.1"
		}
	}
	return "http://" + net.JoinHostPort(h, port) + pagePath(room)
}

// pagePath gives the page's place: a room's name may hold what means something in a URL.
func pagePath(room string) string { return "/rooms/" + url.PathEscape(room) }

// event hears what the session tells.
func (d *daemon) event(n rtc.Notice) {
	d.notice(n)
	if n.Name != "onSendFirstLocalVideoFrame" || d.rooms == nil {
		return
	}
	w := d.device.Wanted().Room
	if a, err := rtc.ParseAddress(w.URL); err == nil && a.Scheme == rtc.Embedded {
		d.watch.shows(w.ID)
	}
}
