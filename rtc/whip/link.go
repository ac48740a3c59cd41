package whip

import (
	"strings"

	"github.com/pion/stun/v4"

	"anchord/internal/secret"
	"anchord/rtc"
)

// link is one link of a Link header field (RFC 8288).
type link struct {
	target string
	params map[string]string // names in lower case; the first of each counts
}

// rel tells whether the link is of this relation; rel holds several, separated by blanks.
func (l link) rel(want string) bool {
	for _, r := range strings.Fields(l.params["rel"]) {
		if strings.EqualFold(r, want) {
			return true
		}
	}
	return false
}

// parseLinks reads Link header fields. What does not follow the grammar is passed over.
func parseLinks(fields []string) []link {
	var links []link
	for _, f := range fields {
		for f != "" && len(links) < maxLinks {
			var l link
			var ok bool
			if l, f, ok = nextLink(f); ok {
				links = append(links, l)
			}
		}
	}
	return links
}

// nextLink reads one link and gives what follows its comma.
func nextLink(f string) (l link, rest string, ok bool) {
	f = strings.TrimLeft(f, " \t,")
	if !strings.HasPrefix(f, "<") {
		return l, afterComma(f), false
	}
	target, f, found := strings.Cut(f[1:], ">")
	if !found {
		return l, "", false
	}
	l = link{strings.TrimSpace(target), map[string]string{}}
	for {
		f = strings.TrimLeft(f, " \t")
		if !strings.HasPrefix(f, ";") {
			return l, afterComma(f), f == "" || f[0] == ','
		}
		f = strings.TrimLeft(f[1:], " \t")
		end := strings.IndexAny(f, "=;, \t")
		if end < 0 {
			end = len(f)
		}
		name, value := strings.ToLower(f[:end]), ""
		f = strings.TrimLeft(f[end:], " \t")
		if strings.HasPrefix(f, "=") {
			f = strings.TrimLeft(f[1:], " \t")
			value, f = paramValue(f)
		}
		if _, twice := l.params[name]; name != "" && !twice {
			l.params[name] = value
		}
	}
}

// paramValue reads a token or a quoted string (RFC 9110 5.6.4).
func paramValue(f string) (value, rest string) {
	if !strings.HasPrefix(f, `"`) {
		end := strings.IndexAny(f, ";, \t")
		if end < 0 {
			end = len(f)
		}
		return f[:end], f[end:]
	}
	var b strings.Builder
	for i := 1; i < len(f); i++ {
		switch c := f[i]; {
		case c == '"':
			return b.String(), f[i+1:]
		case c == '\\' && i+1 < len(f):
			i++
			b.WriteByte(f[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "" // no closing quote
}

// afterComma passes over what cannot be read, quotes regarded.
func afterComma(f string) string {
	quoted := false
	for i := 0; i < len(f); i++ {
		switch {
		case f[i] == '\\' && quoted:
			i++
		case f[i] == '"':
			quoted = !quoted
		case f[i] == ',' && !quoted:
			return f[i+1:]
		}
	}
	return ""
}

// iceServers gives the STUN and TURN servers that the room named (RFC 9725 4.6).
func iceServers(links []link) []rtc.ICEServer {
	var servers []rtc.ICEServer
	for _, l := range links {
		if !l.rel("ice-server") {
			continue
		}
		scheme, host, _ := strings.Cut(l.target, ":")
		scheme = strings.ToLower(scheme)
		host, _, _ = strings.Cut(host, "?")
		turn := scheme == "turn" || scheme == "turns"
		if host == "" || strings.ContainsAny(l.target, " \t") || !turn && scheme != "stun" && scheme != "stuns" {
			continue
		}
		if turn && (l.params["username"] == "" || l.params["credential"] == "") {
			continue // pion refuses the whole configuration for it
		}
		if _, err := stun.ParseURI(scheme + l.target[len(scheme):]); err != nil {
			continue // pion would refuse this and every later connection for it
		}
		srv := rtc.ICEServer{URLs: []string{scheme + l.target[len(scheme):]}}
		if turn {
			srv.Username, srv.Credential = l.params["username"], secret.New(l.params["credential"])
		}
		servers = append(servers, srv)
	}
	return servers
}
