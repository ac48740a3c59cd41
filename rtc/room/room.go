// Package room is the embedded room: a small forwarder of WebRTC media that anchors enter by
// WHIP and viewers by WHEP. It decodes nothing and stores nothing: what an anchor sends is
// passed on to everybody who subscribed to it, a lost packet is sent again, a key frame is
// asked for when somebody needs one, and an anchor that comes back goes on where it stopped,
// on the tracks its viewers already have.
//
// Rooms need no creation: the first who enters makes one, the last who leaves ends it.
package room

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"anchord/internal/secret"
)

// Config is what a room server needs to know. The zero value of a limit means its default.
type Config struct {
	Log *slog.Logger // nil: slog.Default()

	// UDPListen is the one UDP address for all media, such as "127.0.0.1:0" or ":8189".
	UDPListen string
	// Advertise names addresses or hosts that stand for this server in its candidates: the
	// outer side of a 1:1 NAT. Empty: the addresses of the interfaces.
	Advertise []string
	// ICEServers are named to every peer in Link header fields.
	ICEServers []ICEServer

	// Open lets everybody in: the user is what the client says. Authorize is not asked.
	Open bool
	// Hosts are DNS names under which clients may reach an open server, beside addresses,
	// localhost, plain and .local names. Others are refused: a page of a stranger's domain that
	// resolves to this machine must not see the room.
	Hosts []string
	// Authorize tells who makes a request and whether they may publish. Its error may be a
	// *Problem, which is answered as it is; any other is answered with 401. It is required
	// unless Open is set.
	Authorize func(r *http.Request, room string) (Identity, error)

	// Started, if not nil, is called each time Run has opened the server.
	Started func()

	MaxAnchors int // anchors in one room; 50
	MaxViewers int // viewers of the whole server; 300
	MaxWatches int // open event streams of the whole server; 1000
}

// Identity is who makes a request.
type Identity struct {
	User   string // 1 to 32 of [A-Za-z0-9_-]
	Anchor bool   // may publish
}

// ICEServer is a STUN or TURN server that is named to the peers.
type ICEServer struct {
	URLs       []string
	Username   string
	Credential secret.Value
}

// Times of the room. Those with a source follow TRTC's documented behaviour.
const (
	lostAfter    = 2 * time.Second  // no packet for so long: the anchor is lost
	quietLost    = 4 * time.Second  // the same for one that was muted and answered pings
	leaveAfter   = 90 * time.Second // lost for so long: the anchor has left (TRTC: 90 s)
	connectLimit = 30 * time.Second // a session that is not connected by then is ended
	keyEvery     = 500 * time.Millisecond
	beat         = 15 * time.Second // comment line of an idle event stream
	tick         = 250 * time.Millisecond
)

// maxRooms is how many full rooms there may be.
const maxRooms = 4

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.UDPListen == "" {
		c.UDPListen = "127.0.0.1:0"
	}
	if c.MaxAnchors <= 0 {
		c.MaxAnchors = 50
	}
	if c.MaxViewers <= 0 {
		c.MaxViewers = 300
	}
	if c.MaxWatches <= 0 {
		c.MaxWatches = 1000
	}
	return c
}

// Problem is a no to a request, in the words of RFC 9457. It is an error.
type Problem struct {
	Status int           `json:"status"`           // HTTP status
	Code   string        `json:"code"`             // stable word for programs
	Title  string        `json:"title"`            // what is wrong
	Detail string        `json:"detail,omitempty"` // this case, and what to do
	After  time.Duration `json:"-"`                // when to try again; 0: not said
}

// Error gives code, title and detail on one line.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Code + ": " + p.Title
	}
	return p.Code + ": " + p.Title + ": " + p.Detail
}

func problem(status int, code, title, format string, args ...any) *Problem {
	return &Problem{Status: status, Code: code, Title: title, Detail: fmt.Sprintf(format, args...)}
}

func stopping() *Problem {
	p := problem(http.StatusServiceUnavailable, "stopping", "the room server is not running", "try again in a few seconds")
	p.After = 2 * time.Second
	return p
}
