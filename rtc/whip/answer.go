package whip

import (
	"fmt"
	"mime"
	"strings"

	"github.com/pion/sdp/v3"

	"anchord/rtc"
)

// checkAnswer says what is wrong with an answer: what pion would refuse with less
// clear words, and what it would take and never work.
func checkAnswer(offer string, res *response) error {
	bad := func(hint, format string, args ...any) error {
		return &rtc.Refused{Status: res.status, Reason: fmt.Sprintf(format, args...), Hint: hint, Final: true}
	}
	const address = "check that room.url is a WHIP endpoint"
	const server = "look at the server's log: it accepted the offer and gave no usable answer"
	text := string(res.body)
	if strings.TrimSpace(text) == "" {
		return bad(server, "the answer is empty")
	}
	if !strings.HasPrefix(text, "v=0") {
		kind, _, _ := mime.ParseMediaType(res.header.Get("Content-Type"))
		if kind == "" {
			kind = "of an unknown kind"
		}
		return bad(address, "the answer is no SDP, it is %s", clean(kind))
	}
	var a, o sdp.SessionDescription
	if err := a.UnmarshalString(text); err != nil {
		return bad(server, "the answer is broken SDP: %s", clean(err.Error()))
	}
	if err := o.UnmarshalString(offer); err != nil {
		return fmt.Errorf("read our own offer: %w", err)
	}
	if len(a.MediaDescriptions) != len(o.MediaDescriptions) {
		return bad(server, "the answer has %d media sections for the %d offered", len(a.MediaDescriptions), len(o.MediaDescriptions))
	}
	taken := 0
	for i, m := range a.MediaDescriptions {
		if m.MediaName.Media != o.MediaDescriptions[i].MediaName.Media {
			return bad(server, "the answer's media section %d is not the offer's", i+1)
		}
		if m.MediaName.Port.Value == 0 {
			continue
		}
		if direction(m) == "inactive" || direction(m) == "sendonly" {
			continue
		}
		taken++
		for _, need := range []string{"ice-ufrag", "ice-pwd", "fingerprint"} {
			if v, ok := m.Attribute(need); ok && v != "" {
				continue
			}
			if v, ok := a.Attribute(need); !ok || v == "" {
				return bad(server, "the answer lacks a=%s", need)
			}
		}
	}
	if taken == 0 {
		return bad("allow H.264 (packetization-mode=1) and Opus on the server", "no common codec: every media section was refused")
	}
	return nil
}

func direction(m *sdp.MediaDescription) string {
	for _, d := range []string{"inactive", "sendonly", "recvonly", "sendrecv"} {
		if _, ok := m.Attribute(d); ok {
			return d
		}
	}
	return "sendrecv"
}
