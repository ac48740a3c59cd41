package room

import (
	"sync"
	"time"
)

// hall is one room. The server's lock guards it.
type hall struct {
	id      string
	bus     *bus
	anchors map[string]*anchor
	persons map[string]int // viewers' sessions by person
	watches int
	past    *Totals // of all rooms: what is gone adds itself there
}

// anchor is one user who sends, or for whom viewers wait. It outlives its sessions, and with it
// the relays that its viewers hang on. The server's lock guards what is not said otherwise.
type anchor struct {
	user     string
	room     *hall
	session  *session // nil while it is awaited or has lost its session
	present  bool     // the others were told that it is here
	lost     bool
	since    time.Time // of the present state
	hears    known     // what the others were told about its sound
	sees     known     // and its picture
	viewers  int       // sessions that hang on it
	takers   int       // of them connected
	entering int       // requests on their way to it
	audio    *relay
	video    *relay
	voice    voice
}

// known is what was told about a medium: nothing yet, or whether it arrives.
type known int8

const (
	untold known = iota
	off
	on
)

func (h *hall) anchor(user string) *anchor {
	a := h.anchors[user]
	if a == nil {
		epoch := time.Now()
		a = &anchor{user: user, room: h, audio: &relay{epoch: epoch}, video: &relay{epoch: epoch, video: true}}
		a.audio.loud = a.speak
		h.anchors[user] = a
	}
	return a
}

// active counts the anchors that hold a session, except user.
func (h *hall) active(user string) int {
	n := 0
	for _, a := range h.anchors {
		if a.session != nil && a.user != user {
			n++
		}
	}
	return n
}

// tidy drops an anchor that nobody needs.
func (h *hall) tidy(a *anchor) {
	if a.session == nil && !a.present && a.viewers == 0 && a.entering == 0 {
		delete(h.anchors, a.user)
		h.past.anchor(a)
	}
}

func (h *hall) empty() bool {
	return len(h.anchors) == 0 && h.watches == 0
}

func (a *anchor) state() AnchorState {
	st := AnchorState{User: a.user, Audio: a.hears == on, Video: a.sees == on, State: "live", Since: a.since.UnixMilli()}
	if a.lost {
		st.State = "lost"
	}
	return st
}

func (h *hall) snapshot() Snapshot {
	s := Snapshot{Room: h.id, Anchors: []AnchorState{}, Viewers: len(h.persons)}
	for _, a := range h.anchors {
		if a.present {
			s.Anchors = append(s.Anchors, a.state())
		}
	}
	return s
}

// came tells the others that a is here.
func (a *anchor) came(now time.Time) {
	if a.present {
		return
	}
	a.present, a.lost, a.since, a.hears, a.sees = true, false, now, untold, untold
	a.room.bus.publish("join", "", presence{User: a.user})
}

// left tells the others that a is gone.
func (a *anchor) left(reason string) {
	if !a.present {
		return
	}
	a.present, a.lost = false, false
	a.room.bus.publish("leave", "", presence{User: a.user, Reason: reason})
}

// tellSubscribers tells a how many viewers take its media: those that are connected, because a
// key frame that is made before is lost.
func (a *anchor) tellSubscribers() {
	if a.session != nil {
		a.room.bus.publish("subscribers", a.session.id, subscribers{User: a.user, Count: a.takers})
	}
}

// judge compares what was told about a with what arrives. heard is the last sign of life
// besides media. It says whether a has been silent for so long that it has left.
func (a *anchor) judge(now, heard time.Time) (gone bool) {
	sound, picture := a.audio.last(), a.video.last()
	media := sound
	if picture.After(media) {
		media = picture
	}
	patience := lostAfter
	if heard.Sub(media) > lostAfter/4 { // it sends nothing, but answers
		patience = quietLost
	} else if media.After(heard) {
		heard = media
	}
	silent := now.Sub(heard)
	if lost := silent > patience; lost != a.lost {
		a.lost, a.since = lost, now
		state := "live"
		if lost {
			state = "lost"
		}
		a.room.bus.publish("state", "", condition{User: a.user, State: state})
	}
	if !a.lost {
		a.tell("audio", &a.hears, now.Sub(sound) < lostAfter, now)
		a.tell("video", &a.sees, now.Sub(picture) < lostAfter, now)
	}
	return silent > leaveAfter
}

// tell says once whether a medium arrives. That it does not is said after a moment only:
// the first packets of a newcomer are on their way.
func (a *anchor) tell(name string, told *known, arrives bool, now time.Time) {
	is := off
	if arrives {
		is = on
	}
	if *told == is || *told == untold && is == off && now.Sub(a.since) < lostAfter {
		return
	}
	*told = is
	a.room.bus.publish(name, "", available{User: a.user, Available: arrives})
}

// voice thins out audio levels.
type voice struct {
	mu   sync.Mutex
	peak int
	told time.Time
	loud bool // the last word was not silence
}

const speakEvery = 200 * time.Millisecond

// speak takes the audio level of one packet (RFC 6464: 0 is loudest, 127 silence) and tells
// the room at most five times a second. It is called for every packet of sound.
func (a *anchor) speak(level byte) {
	v := &a.voice
	now := time.Now()
	v.mu.Lock()
	v.peak = max(v.peak, loudness(level))
	tell := now.Sub(v.told) >= speakEvery && (v.peak > 0 || v.loud)
	peak := v.peak
	if tell {
		v.told, v.peak, v.loud = now, 0, peak > 0
	}
	v.mu.Unlock()
	if tell {
		a.room.bus.publish("speaking", "", speaking{User: a.user, Level: peak})
	}
}

// loudness maps −60 to 0 dBov to 0 to 100, as TRTC's volumes go.
func loudness(level byte) int {
	return max(0, 60-int(level&0x7f)) * 100 / 60
}
