package room

import (
	"net/http"
	"strings"

	"anchord/internal/trtc"
)

// checkRoom accepts TRTC's room ids but for the few that mean something else in an address.
func checkRoom(id string) *Problem {
	if err := trtc.CheckRoom(id); err != nil {
		return problem(http.StatusBadRequest, "bad_room", "this is no room id", "%v", err)
	}
	if id == "assets" || strings.Trim(id, ".") == "" {
		return problem(http.StatusBadRequest, "bad_room", "this is no room id", "%q means something else in an address; choose another", id)
	}
	return nil
}

// checkUser accepts TRTC's user ids.
func checkUser(id string) *Problem {
	if err := trtc.CheckUser(id); err != nil {
		return problem(http.StatusBadRequest, "bad_user", "this is no user id", "%v; in an open room it is ?user=NAME", err)
	}
	return nil
}
