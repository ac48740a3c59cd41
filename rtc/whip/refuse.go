package whip

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"anchord/rtc"
)

// refused makes the room's no of an answer that is not 201.
func refused(res *response) *rtc.Refused {
	r := &rtc.Refused{Status: res.status, Reason: reason(res), After: retryAfter(res.header.Get("Retry-After"), time.Now())}
	switch res.status {
	case http.StatusBadRequest:
		r.Hint, r.Final = "the room does not understand the offer: check that room.url is a WHIP endpoint", true
	case http.StatusUnauthorized:
		r.Hint, r.Final = "the token is missing, wrong or expired: check room.token_file and the clock", true
		if res.strange {
			r.Hint = "the room redirected to another host, which does not get the token: put that host into room.url"
		}
	case http.StatusForbidden:
		r.Hint, r.Final = "the token does not allow this user to publish in this room: check room.id, room.user and the token", true
	case http.StatusNotFound, http.StatusGone:
		r.Hint, r.Final = "there is no such room at this address: check room.url and room.id", true
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		r.Hint, r.Final = "this address takes no WHIP: check the path of room.url", true
	case http.StatusNotAcceptable, http.StatusUnsupportedMediaType:
		r.Hint, r.Final = "this address takes or gives no SDP: check the path of room.url", true
	case http.StatusConflict:
		r.Hint = "somebody is in the room under this user id: use another room.user, or wait till the old session is gone"
	case http.StatusRequestEntityTooLarge:
		r.Hint, r.Final = "the server takes no request of this size: raise its limit", true
	case http.StatusUnprocessableEntity:
		r.Hint, r.Final = "the server has no codec in common with the offer: allow H.264 (packetization-mode=1) and Opus there", true
	case http.StatusTooManyRequests:
		r.Hint = "the server is asked too often; waiting"
	default:
		switch {
		case res.status >= 500:
			r.Hint = "the server is in trouble: look at its log; trying again"
		case res.status >= 300 && res.status < 400:
			r.Hint, r.Final = "only redirects by 307 and 308 are obeyed: put the new address into room.url", true
		default:
			r.Hint, r.Final = "this is no WHIP server's answer: check room.url", true
		}
	}
	return r
}

// reason gives the server's words, made short and printable.
func reason(res *response) string {
	kind, _, _ := mime.ParseMediaType(res.header.Get("Content-Type"))
	text := string(res.body)
	switch {
	case strings.HasSuffix(kind, "json"):
		// RFC 9457, and what others send in its place.
		var p struct{ Title, Detail, Message, Error string }
		if json.Unmarshal(res.body, &p) == nil {
			text = strings.Join(words(p.Title, p.Detail, p.Message, p.Error), ": ")
		}
	case kind == "text/html" || strings.HasPrefix(strings.TrimSpace(text), "<"):
		text = "a web page" // says nothing to a technician at a terminal
	}
	if text = clean(text); text == "" {
		text = http.StatusText(res.status)
	}
	if text == "" {
		text = "no reason given"
	}
	return text
}

func words(all ...string) []string {
	var kept []string
	for _, w := range all {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return kept
}

// clean makes foreign text fit for one line of a terminal: control characters, escape
// sequences' first bytes and direction marks become blanks, blanks become one.
func clean(text string) string {
	if len(text) > 4*maxReason {
		text = text[:4*maxReason]
	}
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxReason {
		cut := maxReason
		for cut > 0 && text[cut]&0xc0 == 0x80 {
			cut--
		}
		text = text[:cut]
	}
	return text
}

// retryAfter understands seconds and dates (RFC 9110 10.2.3); 0 is anything else. More
// than a day is a day.
func retryAfter(v string, now time.Time) time.Duration {
	const most = 24 * time.Hour
	v = strings.TrimSpace(v)
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, most)
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, min(t.Sub(now), most))
	}
	return 0
}
