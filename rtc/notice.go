package rtc

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"anchord/internal/trtc"
)

// Notice is an event in TRTC's words, for listeners.
type Notice struct {
	Name string // trtc.OnEnterRoom and so on
	// Result is the event's number: of onEnterRoom milliseconds (> 0) or a trtc.Code, of
	// onExitRoom a trtc.ExitReason, of onError a trtc.Code, of onRemoteUserLeaveRoom a
	// trtc.LeaveReason.
	Result int
	User   string // of onRemoteUser…
	Text   string // of onError, of a failed onEnterRoom and of onExitRoom: the reason in words
}

// Times of TRTC's timeline, from the last word of the other side.
const (
	lostAfter     = trtc.LostAfter * time.Second
	firstTryAfter = trtc.FirstTryAfter * time.Second
	tryEvery      = trtc.TryEvery * time.Second
	giveUpAfter   = trtc.GiveUpAfter * time.Second
	slowEntry     = 10 * time.Second // an entry that takes longer is told as failed, and goes on
)

// story tells what happens to the room in TRTC's words. It has no influence on what is
// done.
type story struct {
	tell func(Notice)

	open    bool      // between Enter and the end
	begun   time.Time // since when the room is being entered
	entered bool      // onEnterRoom with a good result was told
	failed  bool      // … with a bad one
	gaveUp  bool      // -3301 was told
	lost    time.Time // the last word of the other side; zero: all is well
	told    int       // steps of the outage that were told
	err     error     // what failed last

	video, audio bool // first frames were told
}

// enter begins a story.
func (s *story) enter(now time.Time) {
	*s = story{tell: s.tell, open: true, begun: now}
}

// up says that media flows.
func (s *story) up(now time.Time) {
	switch {
	case !s.open:
	case !s.entered:
		s.entered = true
		s.tell(Notice{Name: trtc.OnEnterRoom, Result: max(1, int(now.Sub(s.begun).Milliseconds()))})
	case s.told > 0:
		s.tell(Notice{Name: trtc.OnConnectionRecovery})
	}
	s.lost, s.told, s.gaveUp, s.failed, s.err = time.Time{}, 0, false, false, nil
}

// quiet says since when the other side is not heard.
func (s *story) quiet(since time.Time) {
	if s.lost.IsZero() {
		s.lost, s.told = since, 0
	}
}

// attemptFailed says why an attempt failed.
func (s *story) attemptFailed(err error) {
	s.err = err
	var no *Refused
	if errors.As(err, &no) && no.Final {
		s.entryFailed()
	}
}

func (s *story) entryFailed() {
	if s.open && !s.entered && !s.failed {
		s.failed = true
		s.tell(Notice{Name: trtc.OnEnterRoom, Result: int(codeOf(s.err)), Text: words(s.err)})
	}
}

// exit ends the story.
func (s *story) exit(why exitReason, text string) {
	if !s.open {
		return
	}
	reason := trtc.ExitByCall
	switch why {
	case byKick:
		reason = trtc.ExitByKick
	case byDissolved:
		reason = trtc.ExitByDissolved
	}
	s.open = false
	s.tell(Notice{Name: trtc.OnExitRoom, Result: int(reason), Text: text})
}

// due tells what the clock has brought, and when to ask again; the zero Time is never.
func (s *story) due(now time.Time) (again time.Time) {
	if !s.open || s.gaveUp {
		return time.Time{}
	}
	if !s.entered {
		if !s.failed && !now.Before(s.begun.Add(slowEntry)) {
			s.entryFailed()
		}
		if s.failed {
			return s.giveUp(now, s.begun)
		}
		return s.begun.Add(slowEntry)
	}
	if s.lost.IsZero() {
		return time.Time{}
	}
	for {
		at, name := s.lost.Add(lostAfter), trtc.OnConnectionLost
		if s.told > 0 {
			at, name = s.lost.Add(firstTryAfter+time.Duration(s.told-1)*tryEvery), trtc.OnTryToReconnect
		}
		if end := s.lost.Add(giveUpAfter); !at.Before(end) {
			return s.giveUp(now, s.lost)
		}
		if now.Before(at) {
			return at
		}
		s.told++
		s.tell(Notice{Name: name})
	}
}

// giveUp tells -3301 when its time has come. TRTC leaves the room then; nobody is there
// to let this box in again, so it goes on, and what comes next is an entry.
func (s *story) giveUp(now, since time.Time) time.Time {
	if at := since.Add(giveUpAfter); now.Before(at) {
		return at
	}
	s.gaveUp = true
	s.tell(Notice{Name: trtc.OnError, Result: int(trtc.EnterRoomFailed), Text: words(s.err)})
	s.entered, s.begun, s.told = false, now, 0
	return time.Time{}
}

// firstFrame tells the first picture and the first sound that went to the room.
func (s *story) firstFrame(video bool) {
	switch {
	case video && !s.video:
		s.video = true
		s.tell(Notice{Name: trtc.OnSendFirstLocalVideoFrame})
	case !video && !s.audio:
		s.audio = true
		s.tell(Notice{Name: trtc.OnSendFirstLocalAudioFrame})
	}
}

// says translates what the room says about others.
func (s *story) says(e Event) {
	switch e.Kind {
	case Joined:
		s.tell(Notice{Name: trtc.OnRemoteUserEnterRoom, User: e.User})
	case Left:
		reason := trtc.LeftByCall
		switch e.Reason {
		case "timeout":
			reason = trtc.LeftByTimeout
		case "kick", "kicked":
			reason = trtc.LeftByKick
		case "audience":
			reason = trtc.LeftToAudience
		}
		s.tell(Notice{Name: trtc.OnRemoteUserLeaveRoom, User: e.User, Result: int(reason)})
	}
}

func words(err error) string {
	if err == nil {
		return "there was no answer in time"
	}
	return err.Error()
}

// codeOf gives TRTC's code for why the room could not be entered.
func codeOf(err error) trtc.Code {
	var no *Refused
	var id *trtc.IDError
	var timeout net.Error
	switch {
	case err == nil:
		return trtc.EnterRoomTimeout
	case errors.As(err, &id):
		return id.Code
	case errors.As(err, &no):
		switch no.Status {
		case http.StatusUnauthorized:
			return trtc.UserSigCheckFailed
		case http.StatusForbidden:
			return trtc.NoRightToEnter
		case http.StatusNotFound, http.StatusGone:
			return trtc.RoomNotExist
		case http.StatusConflict:
			return trtc.EnterRoomRefused
		}
		return trtc.EnterRoomFailed
	case noRoute(err), errors.Is(err, errNoPath), errors.Is(err, syscall.ECONNREFUSED):
		return trtc.ServerUnreachable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return trtc.EnterRoomTimeout
	}
	return trtc.EnterRoomFailed
}

// noRoute tells whether the network is down on our side: waiting for a change of it is
// better than trying.
func noRoute(err error) bool {
	for _, e := range []error{syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
