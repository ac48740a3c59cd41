package usersig

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"anchord/internal/trtc"
)

// Rights are what a ticket allows, in TRTC's bits.
type Rights uint32

// The rights.
const (
	CreateRoom   Rights = 1 << iota // enter a room that is not there yet
	EnterRoom                       // enter one that is
	SendAudio                       //
	ReceiveAudio                    //
	SendVideo                       //
	ReceiveVideo                    //
	SendSub                         // the second picture, such as a screen
	ReceiveSub                      //

	AllRights    = 255
	AnchorRights = CreateRoom | EnterRoom | SendAudio | SendVideo
	ViewerRights = EnterRoom | ReceiveAudio | ReceiveVideo
)

// rights are their words and the codes for who has them not. TRTC has no code for sound.
var rights = []struct {
	one  Rights
	word string
	code trtc.Code
}{
	{CreateRoom, "create the room", trtc.NoRightToCreate},
	{EnterRoom, "enter the room", trtc.NoRightToEnter},
	{SendAudio, "send sound", trtc.InvalidPrivateMapKey},
	{ReceiveAudio, "receive sound", trtc.InvalidPrivateMapKey},
	{SendVideo, "send pictures", trtc.NoRightToSendVideo},
	{ReceiveVideo, "receive pictures", trtc.NoRightToReceiveVideo},
	{SendSub, "send a second picture", trtc.NoRightToSendSub},
	{ReceiveSub, "receive a second picture", trtc.NoRightToReceiveVideo},
}

// String lists what is allowed.
func (r Rights) String() string {
	var words []string
	for _, x := range rights {
		if r&x.one != 0 {
			words = append(words, x.word)
		}
	}
	if words == nil {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// allow gives an error for the first right of need that is missing.
func (r Rights) allow(need Rights) error {
	for _, x := range rights {
		if need&^r&x.one != 0 {
			return refuse(x.code, "the ticket does not allow to %s (privileges %d): sign one with %d", x.word, r, r|need)
		}
	}
	return nil
}

// Room is a room as a ticket names it. A number and a string of the same digits are two
// rooms.
type Room struct {
	Number uint32 // not 0
	Text   string // if Number is 0
}

// RoomOf gives the room for one of our ids, in which digits are a number.
func RoomOf(id string) (Room, error) {
	if err := trtc.CheckRoom(id); err != nil {
		return Room{}, err
	}
	if strings.Trim(id, "0123456789") != "" {
		return Room{Text: id}, nil
	}
	var r Room
	_, err := fmt.Sscan(id, &r.Number)
	return r, err
}

// String says which room it is.
func (r Room) String() string {
	if r.Number != 0 {
		return fmt.Sprintf("room %d", r.Number)
	}
	return fmt.Sprintf("room %q", r.Text)
}

func (r Room) check() error {
	switch {
	case r.Number != 0 && r.Text != "":
		return refuse(trtc.InvalidRoomID, "a room is a number or a string, not both")
	case r.Number != 0:
		return trtc.CheckRoom(fmt.Sprint(r.Number))
	case strings.Trim(r.Text, "0123456789") == "" && r.Text != "" && len(r.Text) <= trtc.MaxRoomBytes:
		return nil // digits as a string: any
	}
	return trtc.CheckRoom(r.Text)
}

// Ticket is what a ticket says besides its envelope.
type Ticket struct {
	User   string
	AppID  uint32
	Room   Room
	Ends   time.Time // to the second
	Rights Rights
}

// Versions of a ticket.
const (
	numberedRoom = 0
	namedRoom    = 1
)

// encode gives TLS.userbuf, big-endian: version, length and name of the user, application,
// room's number, end, rights, the kind of account; in version 1 length and name of the room.
func (t *Ticket) encode() []byte {
	b := []byte{numberedRoom}
	if t.Room.Number == 0 {
		b[0] = namedRoom
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.User)))
	b = append(b, t.User...)
	for _, v := range []uint32{t.AppID, t.Room.Number, uint32(t.Ends.Unix()), uint32(t.Rights), 0} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	if t.Room.Number == 0 {
		b = binary.BigEndian.AppendUint16(b, uint16(len(t.Room.Text)))
		b = append(b, t.Room.Text...)
	}
	return b
}

// decodeTicket reads TLS.userbuf. Its error is an *Error.
func decodeTicket(b []byte) (*Ticket, error) {
	t, err := readTicket(b)
	if err != nil {
		return nil, refuse(trtc.InvalidPrivateMapKey, "the ticket is damaged: %v", err)
	}
	return t, nil
}

func readTicket(b []byte) (*Ticket, error) {
	r := reader{b: b}
	version := r.take(1)
	t := &Ticket{User: r.text()}
	t.AppID, t.Room.Number = r.number(), r.number()
	t.Ends, t.Rights = time.Unix(int64(r.number()), 0), Rights(r.number())
	r.number()
	if !r.short && version[0] == namedRoom {
		t.Room.Text = r.text()
	}
	switch {
	case r.short:
		return nil, errors.New("it ends too early")
	case version[0] > namedRoom:
		return nil, fmt.Errorf("version %d is not known", version[0])
	case len(r.b) > 0:
		return nil, errors.New("something follows it")
	case (version[0] == numberedRoom) != (t.Room.Number != 0):
		return nil, errors.New("its room's number does not fit its version")
	case t.Room.check() != nil:
		return nil, errors.New("it names no room")
	case trtc.CheckUser(t.User) != nil:
		return nil, errors.New("it names no user")
	}
	return t, nil
}

// reader takes a buffer apart.
type reader struct {
	b     []byte
	short bool // there was not enough
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.short, r.b = true, nil
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) number() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) text() string   { return string(r.take(int(binary.BigEndian.Uint16(r.take(2))))) }
