package rtc

import (
	"time"

	"anchord/internal/media"
)

// judge looks once a second whether media arrives on the other side, and what is lost.
func (l *loop) judge() {
	a := l.attempts[l.m.cur]
	if l.m.state != In || a == nil {
		return
	}
	video, audio := l.s.video.Sending(), l.s.audio.Sending()
	more := [2]uint64{video.Packets, audio.Packets}
	if l.busy++; more == l.packets {
		l.busy = 0
	}
	l.packets = more
	l.doubt(a, video.Keys)
	now := media.Now()
	switch {
	case l.busy > int(deafAfter/lookEvery) && unheard(video, audio, now):
		l.hear(note{event: event{kind: evDown, n: l.m.cur}, err: errDeaf})
		return
	case !muted(video, audio, now):
		a.mute = false
	case l.busy > int(muteAfter/lookEvery) && !a.mute:
		a.mute = true // once: a room may have its reasons
		l.hear(note{event: event{kind: evQuiet, n: l.m.cur}, err: errMute})
		return
	}
	l.demand()
}

// doubt stops believing a room that said that nobody subscribes, and asks for key pictures: its
// word that somebody came is on a connection that is dead, which shows much later. keys is how
// often it asked; what was on its way when it spoke does not count.
func (l *loop) doubt(a *attempt, keys uint64) {
	if a.looks++; a.looks <= 2 {
		a.keys = keys
	}
	if a.subscribers == 0 && a.keys != keys {
		l.s.log.Info("the room says that nobody subscribes, and asks for pictures: it gets them")
		a.subscribers = -1
		l.publish(time.Now(), l.m.state)
	}
}

// unheard tells whether the other side still speaks and reports that nothing arrives,
// though it once did. A side that says nothing is for ICE to judge.
func unheard(video, audio Sending, now media.Time) bool {
	heard, arrived := max(video.Heard, audio.Heard), max(video.Arrived, audio.Arrived)
	return arrived != 0 && now.Sub(heard) < deafAfter/2 && now.Sub(arrived) > deafAfter
}

// muted tells whether the other side spoke about what we send and stopped, though it is
// pinged and answers. Its RTCP goes astray then: to an address that we had.
func muted(video, audio Sending, now media.Time) bool {
	heard := max(video.Heard, audio.Heard)
	return heard != 0 && now.Sub(heard) > muteAfter
}
