package rtc

import (
	"time"

	"anchord/internal/trtc"
)

// Stats is how a session stands.
type Stats struct {
	State       State
	Since       time.Time // of State
	Wanted      bool      // a room is wanted
	Target      Target    // the room that is or was wanted last
	Entered     time.Time // when media flowed first since Enter; zero: not yet
	Tries       int       // attempts that failed in a row
	Reconnects  uint64    // times that the room was lost and found again
	Lost        uint64    // times that it was lost
	Subscribers int       // who take this anchor's media; -1: the room does not say
	Path        string    // addresses that media goes by; empty: none
	Err         error     // why the last attempt failed, or the room was left; nil while all is well
	Code        trtc.Code // of Err

	Video, Audio               Sending
	VideoDropped, AudioDropped uint64 // coded pictures and blocks that waited too long for the network
}

// State gives the present state.
func (s *Session) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.State
}

// Stats gives everything.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	st := s.status
	st.Target = s.target
	s.mu.Unlock()
	st.Video, st.Audio = s.video.Sending(), s.audio.Sending()
	st.VideoDropped, st.AudioDropped = s.pictures.Dropped(), s.sounds.Dropped()
	return st
}

// publish shows the loop's state to State and Stats.
func (l *loop) publish(now time.Time, from State) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	st := &l.s.status
	to := l.m.state
	if from != to {
		st.Since = now
		switch to {
		case Entering, Idle:
			st.Entered = time.Time{}
		case Recovering:
			st.Lost++
		case In:
			if st.Entered.IsZero() {
				st.Entered = now
			}
			if from == Recovering {
				st.Reconnects++
			}
		}
	}
	st.State, st.Wanted, st.Tries = to, l.m.want, l.m.tries
	st.Err, st.Code = l.err, trtc.OK
	if l.err != nil {
		st.Code = codeOf(l.err)
	}
	st.Path, st.Subscribers = "", -1
	if a := l.attempts[l.m.cur]; a != nil {
		st.Subscribers = a.subscribers
		if to == In {
			st.Path = a.way.Path()
		}
	}
}
