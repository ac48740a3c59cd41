// Package usersig makes and checks the tokens with which users enter a TRTC room: UserSig
// version 2, and the ticket for one room that TRTC calls privateMapKey. They are those of
// TRTC's own signers, both ways (https://github.com/tencentyun/tls-sig-api-v2-golang).
package usersig

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"anchord/internal/secret"
	"anchord/internal/trtc"
)

// Key is what an application signs with. Its methods may be called from any goroutine.
type Key struct {
	AppID  uint32       // SDKAppID; not 0
	Secret secret.Value // SDKSecretKey: its characters are the key, hexadecimal digits are not decoded
	// Skew is how much longer than it says a token is taken, for clocks that differ. Like
	// TRTC's own, the check asks nothing of the time at which a token was made.
	Skew time.Duration
}

// Claims is what a token says.
type Claims struct {
	User   string
	AppID  uint32
	Made   time.Time // to the second
	Life   time.Duration
	Ticket *Ticket // nil: an ordinary UserSig
}

// Ends is when it expires.
func (c *Claims) Ends() time.Time { return c.Made.Add(c.Life) }

// Error says why a token is refused, with TRTC's code for it.
type Error struct {
	Code    trtc.Code
	Message string // what is wrong, and what to do; nothing of the token but its claims
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

func refuse(code trtc.Code, format string, a ...any) error {
	return &Error{code, fmt.Sprintf(format, a...)}
}

// Bounds of what is signed; beyond them a time cannot be shown or added up.
const (
	lastTime    = 1 << 40 // seconds
	longestLife = 1 << 32 // seconds
)

// Sign makes a UserSig for a user, good for life from now on, in whole seconds.
func (k *Key) Sign(user string, now time.Time, life time.Duration) (string, error) {
	return k.sign(user, now, life, nil)
}

// SignTicket makes a ticket for one user and one room.
func (k *Key) SignTicket(user string, room Room, rights Rights, now time.Time, life time.Duration) (string, error) {
	if err := room.check(); err != nil {
		return "", err
	}
	return k.sign(user, now, life, &Ticket{User: user, AppID: k.AppID, Room: room, Ends: now.Add(life), Rights: rights})
}

func (k *Key) sign(user string, now time.Time, life time.Duration, t *Ticket) (string, error) {
	if err := k.check(); err != nil {
		return "", err
	}
	if err := trtc.CheckUser(user); err != nil {
		return "", err
	}
	e := envelope{user: user, app: k.AppID, time: now.Unix(), expire: int64(life / time.Second)}
	switch {
	case e.expire < 1 || e.expire > longestLife:
		return "", refuse(trtc.InvalidParameter, "a token lasts 1 to %d seconds, not %d", int64(longestLife), e.expire)
	case e.time < 0 || e.time > lastTime:
		return "", refuse(trtc.InvalidParameter, "a token is made between 0 and %d seconds after 1970, not %d", int64(lastTime), e.time)
	case t != nil && e.time+e.expire > 1<<32-1:
		return "", refuse(trtc.InvalidParameter, "a ticket ends at %d seconds after 1970 at the latest (32 bits): make its life shorter", uint32(1<<32-1))
	}
	if t != nil {
		e.userbuf = t.encode()
	}
	e.sig = k.mac(&e)
	return e.encode()
}

func (k *Key) check() error {
	switch {
	case k.AppID == 0:
		return refuse(trtc.InvalidAppID, "the application id is missing")
	case k.Secret.IsZero():
		return refuse(trtc.InvalidParameter, "the application's secret key is missing")
	}
	return nil
}

// mac signs what the envelope says.
func (k *Key) mac(e *envelope) []byte {
	h := hmac.New(sha256.New, []byte(k.Secret.Reveal()))
	fmt.Fprintf(h, "TLS.identifier:%s\nTLS.sdkappid:%d\nTLS.time:%d\nTLS.expire:%d\n", e.user, e.app, e.time, e.expire)
	if e.userbuf != nil {
		fmt.Fprintf(h, "TLS.userbuf:%s\n", base64.StdEncoding.EncodeToString(e.userbuf))
	}
	return h.Sum(nil)
}

// Decode reads a token without believing it: who signed it is not checked. Its error is
// an *Error.
func Decode(token string) (*Claims, error) {
	e, err := decode(token)
	if err != nil {
		return nil, err
	}
	c := e.claims()
	if e.userbuf != nil {
		if c.Ticket, err = decodeTicket(e.userbuf); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Verify checks a UserSig: that it is whole, for this application, of this user (of any if
// user is empty), not expired, and signed with this key; in that order, as TRTC does. Its
// error is an *Error.
func (k *Key) Verify(token, user string, now time.Time) (*Claims, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	e, err := decode(token)
	if err != nil {
		return nil, err
	}
	if e.userbuf != nil {
		return nil, refuse(trtc.UserSigCheckFailed, "the token is a ticket for a room, where the user's own token is needed")
	}
	return k.verify(e, user, now)
}

func (k *Key) verify(e *envelope, user string, now time.Time) (*Claims, error) {
	c := e.claims()
	switch {
	case e.app != k.AppID:
		return nil, refuse(trtc.SigOtherApp, "the token is for application %d, not for %d: sign one for this application", e.app, k.AppID)
	case user != "" && e.user != user:
		return nil, refuse(trtc.SigOtherUser, "the token is user %s's, not %s's: sign one for this user", e.user, user)
	case k.past(c.Ends(), now):
		return nil, refuse(trtc.SigExpired, "the token expired at %s: sign a new one; if it is new, set this machine's clock", c.Ends().UTC().Format(time.RFC3339))
	case !hmac.Equal(e.sig, k.mac(e)):
		return nil, refuse(trtc.SigInvalid, "the token was signed with another key than application %d's, or changed since", k.AppID)
	}
	return c, nil
}

// past tells whether an end is over. The last second is good as a whole, as with TRTC.
func (k *Key) past(end, now time.Time) bool { return now.Unix() > end.Add(k.Skew).Unix() }

// VerifyTicket checks a ticket as Verify does, and that it is for this room with these
// rights. Its error is an *Error: trtc.InvalidPrivateMapKey, or the code of the right that
// is missing.
func (k *Key) VerifyTicket(token, user string, room Room, need Rights, now time.Time) (*Ticket, error) {
	bad := func(format string, a ...any) error {
		return refuse(trtc.InvalidPrivateMapKey, "the ticket is refused: "+format, a...)
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	e, err := decode(token)
	if err != nil {
		return nil, bad("%v", err)
	}
	if e.userbuf == nil {
		return nil, bad("it is a user's token, where a ticket for a room is needed")
	}
	if _, err := k.verify(e, user, now); err != nil {
		return nil, bad("%v", err)
	}
	t, err := decodeTicket(e.userbuf)
	switch {
	case err != nil:
		return nil, bad("%v", err)
	case t.User != e.user || t.AppID != e.app:
		return nil, bad("it is for user %s of application %d inside and for %s of %d outside", t.User, t.AppID, e.user, e.app)
	case t.Room != room:
		return nil, bad("it is for %v, not for %v: sign one for this room", t.Room, room)
	case k.past(t.Ends, now):
		return nil, bad("it expired at %s: sign a new one; if it is new, set this machine's clock", t.Ends.UTC().Format(time.RFC3339))
	}
	return t, t.Rights.allow(need)
}
