package rtc

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"anchord/internal/secret"
	"anchord/internal/trtc"
)

// Scheme is the first word of a room address: which signaller reaches it.
type Scheme string

// The schemes.
const (
	Embedded    Scheme = "embedded"    // this process's own room server
	WHIP        Scheme = "whip+http"   // any WHIP server, without TLS
	WHIPSecure  Scheme = "whip+https"  // any WHIP server
	LiveKit     Scheme = "livekit+ws"  // a LiveKit server, without TLS
	LiveKitSafe Scheme = "livekit+wss" // a LiveKit server
)

// Address is a room address: "embedded:", "whip+https://HOST/PATH" and so on. {room}
// and {user} in path and query stand for the ids. A WHIP address without a path is
// another anchord's: its path is /whip/{room}?user={user}.
type Address struct {
	Scheme Scheme
	rest   string // as an ordinary URL: "https://HOST/PATH"
}

// ParseAddress checks a room address. Its error never quotes it: it may hold a secret.
func ParseAddress(s string) (Address, error) {
	const help = "use embedded:, whip+https://HOST/PATH, whip+http://HOST/PATH, livekit+wss://HOST or livekit+ws://HOST"
	scheme, rest, ok := strings.Cut(strings.TrimSpace(s), ":")
	a := Address{Scheme: Scheme(strings.ToLower(scheme))}
	if !ok {
		return Address{}, errors.New("room address: it has no scheme: " + help)
	}
	switch a.Scheme {
	case Embedded:
		if rest != "" {
			return Address{}, errors.New("room address: the word embedded takes nothing after its colon")
		}
		return a, nil
	case WHIP, WHIPSecure, LiveKit, LiveKitSafe:
	default:
		return Address{}, errors.New("room address: its scheme is not known: " + help)
	}
	_, inner, _ := strings.Cut(string(a.Scheme), "+")
	a.rest = inner + ":" + rest
	u, err := url.Parse(fill(a.rest, "0", "0"))
	switch {
	case err != nil || u.Opaque != "":
		return Address{}, errors.New("room address: it is no URL: " + help)
	case u.Hostname() == "":
		return Address{}, errors.New("room address: it names no host: " + help)
	case u.User != nil:
		return Address{}, errors.New("room address: it has a user or password in it: use room.token_file")
	case u.Fragment != "":
		return Address{}, errors.New("room address: nothing may follow #")
	}
	if u.Path == "" && u.RawQuery == "" && (a.Scheme == WHIP || a.Scheme == WHIPSecure) {
		a.rest = u.Scheme + "://" + u.Host + "/whip/{room}?user={user}"
	}
	return a, nil
}

// Endpoint gives the URL to speak to for a room and a user.
func (a Address) Endpoint(room, user string) string { return fill(a.rest, room, user) }

// String gives the address without what may be a secret in it: see secret.URL.
func (a Address) String() string {
	if a.Scheme == Embedded {
		return "embedded:"
	}
	_, after, _ := strings.Cut(a.rest, ":")
	return secret.URL(string(a.Scheme) + ":" + after)
}

// Local tells whether the room is on this machine, so that it is reached by loopback.
func (a Address) Local() bool {
	if a.Scheme == Embedded {
		return true
	}
	u, err := url.Parse(fill(a.rest, "0", "0"))
	if err != nil {
		return false // ParseAddress saw to it
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// fill puts the ids in, each escaped for its place.
func fill(address, room, user string) string {
	path, query, asked := strings.Cut(address, "?")
	path = strings.NewReplacer("{room}", url.PathEscape(room), "{user}", url.PathEscape(user)).Replace(path)
	if !asked {
		return path
	}
	return path + "?" + strings.NewReplacer("{room}", url.QueryEscape(room), "{user}", url.QueryEscape(user)).Replace(query)
}

// Target is a room to be in, and as whom.
type Target struct {
	Address Address
	Room    string // a number from 1 to 4294967294 or at most 64 of TRTC's characters
	User    string // 1 to 32 letters, digits, _ and -
}

// Check says what is wrong with a target; the error is a *trtc.IDError for the ids.
func (t Target) Check() error {
	if t.Address.Scheme == "" {
		return errors.New("there is no room address")
	}
	if err := trtc.CheckRoom(t.Room); err != nil {
		return err
	}
	return trtc.CheckUser(t.User)
}

// String names room and user.
func (t Target) String() string { return fmt.Sprintf("room %s as %s at %s", t.Room, t.User, t.Address) }
