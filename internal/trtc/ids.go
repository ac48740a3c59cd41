package trtc

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits of ids.
const (
	MaxRoomNumber = 4294967294
	MaxRoomBytes  = 64
	MaxUserBytes  = 32
)

// roomMarks are what string room ids may have besides letters and digits
// (TRTCParams.strRoomId).
const roomMarks = " !#$%&()+-:;<=.>?@[]^_{}|~,"

// IDError says what is wrong with a room or user id.
type IDError struct {
	Code Code // InvalidRoomID or InvalidUserID
	Text string
}

// Error gives the words.
func (e *IDError) Error() string { return e.Text }

// CheckRoom accepts a number from 1 to 4294967294 without leading zeros, or a string of
// at most 64 of TRTC's characters that is not a number. Its error is an *IDError.
func CheckRoom(id string) error {
	bad := func(format string, args ...any) error {
		return &IDError{InvalidRoomID, "room id " + shown(id) + ": " + fmt.Sprintf(format, args...)}
	}
	switch {
	case id == "":
		return bad("it is empty; use a number or 1 to %d characters", MaxRoomBytes)
	case len(id) > MaxRoomBytes:
		return bad("it has %d bytes; use at most %d", len(id), MaxRoomBytes)
	}
	for i := range len(id) {
		if c := id[i]; !alphanumeric(c) && strings.IndexByte(roomMarks, c) < 0 {
			return bad("byte %d is not allowed; use letters, digits, space and %s", i+1, roomMarks[1:])
		}
	}
	if strings.Trim(id, "0123456789") == "" {
		if n, err := strconv.ParseUint(id, 10, 64); err != nil || n < 1 || n > MaxRoomNumber || id[0] == '0' {
			return bad("a room number is 1 to %d without leading zeros", int64(MaxRoomNumber))
		}
	}
	return nil
}

// CheckUser accepts 1 to 32 letters, digits, _ and -. Its error is an *IDError.
func CheckUser(id string) error {
	bad := func(format string, args ...any) error {
		return &IDError{InvalidUserID, "user id " + shown(id) + ": " + fmt.Sprintf(format, args...)}
	}
	switch {
	case id == "":
		return bad("it is empty; use 1 to %d letters, digits, _ and -", MaxUserBytes)
	case len(id) > MaxUserBytes:
		return bad("it has %d bytes; use at most %d", len(id), MaxUserBytes)
	}
	for i := range len(id) {
		if c := id[i]; !alphanumeric(c) && c != '_' && c != '-' {
			return bad("byte %d is not allowed; use letters, digits, _ and -", i+1)
		}
	}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// shown makes a foreign id printable and short.
func shown(id string) string {
	if len(id) > 40 {
		id = id[:40] + "…"
	}
	return strconv.QuoteToASCII(id)
}
