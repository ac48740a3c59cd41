package whip

import (
	"errors"
	"fmt"
	"strings"

	"anchord/rtc"
)

// fragmentKind is the media type of ICE fragments (RFC 8840 section 9).
const fragmentKind = "application/trickle-ice-sdpfrag"

// credentials of one side, and of which section.
type credentials struct{ ufrag, pwd string }

// lines gives the lines of a description, whatever ends them.
func lines(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for l := range strings.Lines(text) {
			if l = strings.TrimRight(l, "\r\n"); l != "" && !yield(l) {
				return
			}
		}
	}
}

// credentialsOf gives the first ICE credentials of a description: all sections of a
// bundle have the same.
func credentialsOf(text string) (c credentials) {
	for l := range lines(text) {
		if v, ok := strings.CutPrefix(l, "a=ice-ufrag:"); ok && c.ufrag == "" {
			c.ufrag = v
		}
		if v, ok := strings.CutPrefix(l, "a=ice-pwd:"); ok && c.pwd == "" {
			c.pwd = v
		}
	}
	return c
}

// trickled makes the fragment that carries candidates. Each belongs to a media section
// of the offer.
func trickled(offer string, candidates []rtc.Candidate, done bool) string {
	c := credentialsOf(offer)
	sections := sectionsOf(offer)
	var b strings.Builder
	fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", c.ufrag, c.pwd)
	ended := false
	for i, s := range sections {
		var own []string
		for _, k := range candidates {
			if k.Mid == s.mid || k.Mid == "" && k.Line == i {
				own = append(own, k.Value)
			}
		}
		end := done && !ended // the bundle has one set of candidates, on its first section
		if len(own) == 0 && !end {
			continue
		}
		fmt.Fprintf(&b, "%s\r\na=mid:%s\r\n", s.m, s.mid)
		for _, v := range own {
			fmt.Fprintf(&b, "a=%s\r\n", v)
		}
		if end {
			b.WriteString("a=end-of-candidates\r\n")
			ended = true
		}
	}
	return b.String()
}

// restarting makes the fragment that asks for an ICE restart, of a whole offer with new
// credentials.
func restarting(offer string) string {
	var candidates []rtc.Candidate
	seen := map[string]bool{}
	section := -1
	for l := range lines(offer) {
		if strings.HasPrefix(l, "m=") {
			section++
		}
		if strings.HasPrefix(l, "a=candidate:") && section >= 0 && !seen[l] {
			seen[l] = true
			candidates = append(candidates, rtc.Candidate{Value: l[2:], Line: section})
		}
	}
	return trickled(offer, candidates, strings.Contains(offer, "a=end-of-candidates"))
}

type section struct{ m, mid string }

func sectionsOf(text string) []section {
	var all []section
	for l := range lines(text) {
		if strings.HasPrefix(l, "m=") {
			all = append(all, section{m: l})
		}
		if v, ok := strings.CutPrefix(l, "a=mid:"); ok && len(all) > 0 {
			all[len(all)-1].mid = v
		}
	}
	return all
}

// reanswered makes the answer to an ICE restart: the old answer with the credentials
// and candidates of the server's fragment.
func reanswered(old, fragment string) (string, error) {
	c := credentialsOf(fragment)
	was := credentialsOf(old)
	switch {
	case c.ufrag == "" || c.pwd == "":
		return "", errors.New("the fragment has no ICE credentials")
	case !iceWord(c.ufrag, 4) || !iceWord(c.pwd, 22):
		return "", errors.New("the fragment's ICE credentials are malformed")
	case c.ufrag == was.ufrag:
		return "", errors.New("the fragment's ICE credentials are the old ones")
	}
	var fresh []string
	for l := range lines(fragment) {
		if strings.HasPrefix(l, "a=candidate:") && len(fresh) < maxLinks {
			fresh = append(fresh, l)
		}
	}
	var b strings.Builder
	write := func(l string) { b.WriteString(l + "\r\n") }
	open := false // in a section that still lacks the candidates
	flush := func() {
		if open {
			for _, l := range fresh {
				write(l)
			}
			write("a=end-of-candidates")
		}
		open = false
	}
	for l := range lines(old) {
		switch {
		case strings.HasPrefix(l, "m="):
			flush()
			write(l)
			open = true
		case strings.HasPrefix(l, "a=ice-ufrag:"):
			write("a=ice-ufrag:" + c.ufrag)
		case strings.HasPrefix(l, "a=ice-pwd:"):
			write("a=ice-pwd:" + c.pwd)
		case strings.HasPrefix(l, "a=candidate:"), l == "a=end-of-candidates":
		default:
			write(l)
		}
	}
	flush()
	return b.String(), nil
}

// iceWord tells whether v is made of ice-chars (RFC 8839 5.4), at least least.
func iceWord(v string, least int) bool {
	if len(v) < least || len(v) > 256 {
		return false
	}
	for _, c := range []byte(v) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '/' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
