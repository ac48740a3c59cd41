package room

import (
	"net/http"
	"strings"
)

// fragment is an application/trickle-ice-sdpfrag body (RFC 8840), as far as a bundled session
// needs it.
type fragment struct {
	ufrag, pwd string
	candidates []string // "candidate:…"
	mid        string   // of the first media section
	end        bool
}

const maxCandidates = 64

// parseFragment reads a fragment. Session and media level are not told apart: everything is
// bundled on one transport.
func parseFragment(text string) (fragment, *Problem) {
	var f fragment
	bad := func(detail string) (fragment, *Problem) {
		return fragment{}, problem(http.StatusBadRequest, "bad_fragment", "the ICE fragment cannot be read", "%s", detail)
	}
	set := func(to *string, v string, least, most int) bool {
		if len(v) < least || len(v) > most || strings.Trim(v, iceChars) != "" || *to != "" && *to != v {
			return false
		}
		*to = v
		return true
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if len(line) < 2 || line[1] != '=' || line[0] < 'a' || line[0] > 'z' {
			return bad("a line is not of the form x=value")
		}
		if line[0] != 'a' {
			continue
		}
		key, value, _ := strings.Cut(line[2:], ":")
		switch key {
		case "ice-ufrag":
			if !set(&f.ufrag, value, 4, 256) {
				return bad("a=ice-ufrag is wrong or there are two of them")
			}
		case "ice-pwd":
			if !set(&f.pwd, value, 22, 256) {
				return bad("a=ice-pwd is wrong or there are two of them")
			}
		case "mid":
			if f.mid == "" {
				f.mid = value
			}
		case "candidate":
			if len(f.candidates) == maxCandidates || len(value) > 512 {
				return bad("there are too many or too long candidates")
			}
			f.candidates = append(f.candidates, line[2:])
		case "end-of-candidates":
			f.end = true
		}
	}
	if (f.ufrag == "") != (f.pwd == "") {
		return bad("a=ice-ufrag and a=ice-pwd belong together")
	}
	if f.ufrag == "" && len(f.candidates) == 0 && !f.end {
		return bad("it holds neither credentials nor candidates")
	}
	return f, nil
}

// iceChars may stand in credentials (RFC 8839 section 5.4).
const iceChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// fragmentOf takes from a local description what the other side needs after an ICE restart.
func fragmentOf(description string) string {
	var credentials, rest strings.Builder
	seen, section := map[string]bool{}, false
	for line := range strings.Lines(description) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "a=ice-ufrag:"), strings.HasPrefix(line, "a=ice-pwd:"):
			if !seen[line] {
				seen[line] = true
				credentials.WriteString(line + "\r\n")
			}
		case strings.HasPrefix(line, "m=") && !section:
			section = true
			rest.WriteString(line + "\r\n")
		case strings.HasPrefix(line, "a=mid:") && !seen["mid"]:
			seen["mid"] = true
			rest.WriteString(line + "\r\n")
		case strings.HasPrefix(line, "a=candidate:") && !seen[line]:
			seen[line] = true
			rest.WriteString(line + "\r\n")
		}
	}
	return credentials.String() + rest.String() + "a=end-of-candidates\r\n"
}
