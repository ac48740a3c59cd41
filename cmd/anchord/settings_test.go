package main

import (
	"testing"

	"anchord/device/config"
	"anchord/rtc"
)

// TestCheckedAddressesWork: what the configuration lets through must not stop a start.
func TestCheckedAddressesWork(t *testing.T) {
	for _, s := range []string{"embedded:", "EMBEDDED:", "embedded:x", "whip+http://", "whip+http://h", "whip+HTTP://h/x", "whip+https://h:443/whip/{room}?user={user}",
		"whip+http://h/{room", "whip+http://:80/x", "whip+http://h:99999/x", "whip+http://[::1]:80", "whip+http://[::1/x", "whip+https://u:p@h/x", "whip+http:h",
		"whip+http://h/x#y", "whip+http://h/%zz", " whip+http://h", "whip+http://h ", "whip+http://h\n", "livekit+ws://h", "http://h", ""} {
		if err := config.CheckRoomURL(s); err != nil {
			continue
		}
		if _, err := rtc.ParseAddress(s); err != nil {
			t.Errorf("%q passes the check, and then: %v", s, err)
		}
	}
}
