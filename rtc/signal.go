package rtc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"anchord/internal/secret"
)

// Signaller reaches one kind of room. It is made for one room address and one user.
// Implementations: package whip (RFC 9725), package room (the embedded server, in
// process), package livekit.
type Signaller interface {
	// Publish carries the offer to the room and gives the call with the room's answer. It
	// obeys ctx. Errors are *Refused when the room answered with a no; others mean that
	// there was no usable answer.
	Publish(ctx context.Context, offer string) (Call, error)
}

// Call is one accepted session in a room. Its methods may be called from any
// goroutine and obey their context.
type Call interface {
	// Answer is the room's SDP answer.
	Answer() string
	// ICEServers gives the servers that the room named for this session.
	ICEServers() []ICEServer
	// Trickle sends candidates ("a=candidate:…" without "a=") found after the offer; done
	// says that there will be no more. ErrNoTrickle when the room does not take them.
	Trickle(ctx context.Context, candidates []Candidate, done bool) error
	// Restart carries an offer with new ICE credentials and gives the answer to it.
	// ErrNoRestart when the room cannot do it: then a new session is needed.
	Restart(ctx context.Context, offer string) (answer string, err error)
	// Events carries what the room says until the call ends; it is closed when the call
	// was hung up or when the room's event stream is gone for good. It is nil when the
	// room has no such stream: then nobody knows whether somebody subscribes.
	Events() <-chan Event
	// Hangup ends the session on the server and frees what the call holds; it also ends
	// Events. It is called exactly once.
	Hangup(ctx context.Context) error
}

// Errors of calls that somebody acts on.
var (
	ErrNoTrickle = errors.New("the room does not take trickled candidates")
	ErrNoRestart = errors.New("the room cannot restart ICE")
)

// ICEServer is a STUN or TURN server (RFC 7064, RFC 7065).
type ICEServer struct {
	URLs       []string
	Username   string
	Credential secret.Value
}

// Candidate is one local ICE candidate (RFC 8839).
type Candidate struct {
	Value string // "candidate:…"
	Mid   string // of the media section
	Line  int    // index of the media section
}

// EventKind is what a room says to a participant.
type EventKind int

// What rooms say.
const (
	Subscribers EventKind = iota + 1 // Count viewers take this anchor's media
	Joined                           // User came
	Left                             // User went, with Reason
	Kicked                           // this participant was thrown out, with Reason
	Dissolved                        // the room is no more, with Reason
)

// Event is one thing that a room says.
type Event struct {
	Kind   EventKind
	User   string
	Count  int
	Reason string
}

// Refused is a room's no.
type Refused struct {
	Status int           // HTTP status, or its nearest equivalent
	Reason string        // the room's words, shortened and made printable
	Hint   string        // what the operator can do
	After  time.Duration // the room asked to wait so long; 0: it did not say
	Final  bool          // the same request will get the same answer (wrong token, wrong address, no common codec)
}

// Error tells what the room said and what to do.
func (r *Refused) Error() string {
	s := fmt.Sprintf("the room refused (%d): %s", r.Status, r.Reason)
	if r.Hint != "" {
		s += "; " + r.Hint
	}
	return s
}
