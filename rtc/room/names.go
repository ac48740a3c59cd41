package room

import (
	"net/http"
	"strconv"
	"strings"
)

// roomMarks are the characters besides letters and digits that TRTC allows in string room ids
// (TRTCParams.strRoomId).
const roomMarks = " !#$%&()+-:;<=.>?@[]^_{}|~,"

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// checkRoom accepts a number from 1 to 4294967294 or a string of at most 64 allowed characters.
func checkRoom(id string) *Problem {
	bad := func(format string, args ...any) *Problem {
		return problem(http.StatusBadRequest, "bad_room", "this is no room id", format, args...)
	}
	if id == "" || len(id) > 64 {
		return bad("it has %d bytes; use 1 to 64", len(id))
	}
	digits := true
	for i := range len(id) {
		c := id[i]
		if !alnum(c) && strings.IndexByte(roomMarks, c) < 0 {
			return bad("byte %d is not allowed; use letters, digits, space and %s", i+1, roomMarks[1:])
		}
		digits = digits && c >= '0' && c <= '9'
	}
	if digits {
		n, err := strconv.ParseUint(id, 10, 64)
		if err != nil || n < 1 || n > 4294967294 || id[0] == '0' {
			return bad("a room number is 1 to 4294967294 without leading zeros")
		}
	}
	if id == "assets" || strings.Trim(id, ".") == "" {
		return bad("%q means something else in an address; choose another", id)
	}
	return nil
}

// checkUser accepts 1 to 32 letters, digits, _ and -.
func checkUser(id string) *Problem {
	if id == "" || len(id) > 32 {
		return problem(http.StatusBadRequest, "bad_user", "this is no user id",
			"it has %d bytes; use 1 to 32 (in an open room: ?user=NAME)", len(id))
	}
	for i := range len(id) {
		if c := id[i]; !alnum(c) && c != '_' && c != '-' {
			return problem(http.StatusBadRequest, "bad_user", "this is no user id",
				"byte %d is not allowed; use letters, digits, _ and -", i+1)
		}
	}
	return nil
}
