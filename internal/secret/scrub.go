package secret

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// URL gives an address with Shown for what may be a secret in it: user and password, the
// whole query unless it is a pattern's, the fragment, and parts of the path that look like keys, which some WHIP
// services have there. Servers' addresses without a query keep what they have, so
// "turn:host:3478" is still that.
func URL(address string) string {
	s := scrubber{text: address}
	i := strings.Index(address, "://")
	if i < 0 {
		i = strings.IndexByte(address, ':')
		if j := strings.IndexAny(address, "?#"); j >= 0 {
			s.mask(j+1, len(address))
		}
		if j := strings.LastIndexByte(address, '@'); j > i {
			s.mask(i+1, j)
		}
		return s.done()
	}
	s.url(i+len("://"), len(address))
	return s.done()
}

// Scrub makes text safe for logs and errors: each URL in it as URL does, the values of
// names like token, usersig, password and of Authorization headers. What it cannot know is
// a secret without a name; Mask is for those that are known.
func Scrub(text string) string {
	s := scrubber{text: text}
	last := 0 // where the newest URL ends; one within it is part of it
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case ':':
			begin := i + len("://")
			switch {
			case i == 0 || !isWord(text[i-1]) || !strings.HasPrefix(text[i:], "://"):
				i = s.pair(i)
			case begin < last:
				s.user(begin, last)
			default:
				last = begin + strings.IndexFunc(text[begin:], endsURL)
				if last < begin {
					last = len(text)
				}
				s.url(begin, last)
			}
		case '=':
			i = s.pair(i)
		case ' ':
			s.scheme(i)
		}
	}
	return s.done()
}

// endsURL tells what cannot be in a URL that stands in a text.
func endsURL(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("\"<>`\\", r)
}

type span struct{ begin, end int }

// scrubber collects what is to be masked in a text.
type scrubber struct {
	text  string
	spans []span
}

func (s *scrubber) mask(begin, end int) {
	if begin < end {
		s.spans = append(s.spans, span{begin, end})
	}
}

// done gives the text with Shown for each span.
func (s *scrubber) done() string {
	if len(s.spans) == 0 {
		return s.text
	}
	slices.SortFunc(s.spans, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
	var b strings.Builder
	at := 0
	for _, p := range s.spans {
		if p.begin >= at {
			b.WriteString(s.text[at:p.begin])
			b.WriteString(Shown)
		}
		at = max(at, p.end)
	}
	b.WriteString(s.text[at:])
	return b.String()
}

// url masks in the URL whose host begins at begin.
func (s *scrubber) url(begin, end int) {
	host := s.user(begin, end)
	path := host + strings.IndexAny(s.text[host:end], "?#")
	if path < host {
		path = end
	} else if q := s.text[path+1 : end]; s.text[path] != '?' || !onlyPlaces(q) {
		s.mask(path+1, path+1+len(strings.TrimRight(q, ".,:;!)"))) // what ends a sentence is kept
	}
	for i := host; i < path; {
		next := i + 1 + strings.IndexByte(s.text[i+1:path], '/')
		if next <= i {
			next = path
		}
		if looksLikeKey(s.text[i+1 : next]) {
			s.mask(i+1, next)
		}
		i = next
	}
}

// onlyPlaces tells whether a query is one of a pattern, such as user={user}, and holds
// nothing yet.
func onlyPlaces(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		_, v, ok := strings.Cut(pair, "=")
		if !ok || len(v) < 2 || v[0] != '{' || v[len(v)-1] != '}' || strings.ContainsFunc(v[1:len(v)-1], func(r rune) bool { return r < 'a' || r > 'z' }) {
			return false
		}
	}
	return true
}

// user masks user and password in the authority that begins at begin, and gives where it
// ends.
func (s *scrubber) user(begin, end int) int {
	host := begin + strings.IndexAny(s.text[begin:end], "/?#")
	if host < begin {
		host = end
	}
	if at := strings.LastIndexByte(s.text[begin:host], '@'); at >= 0 {
		s.mask(begin, begin+at)
	}
	return host
}

// looksLikeKey tells whether a path's part is long, and mixes letters and digits as keys
// do and names do not.
func looksLikeKey(part string) bool {
	letters, digits := 0, 0
	for _, r := range part {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case unicode.IsLetter(r):
			letters++
		}
	}
	return len(part) >= 20 && letters >= 2 && digits >= 2
}

// secretName tells whether the value of a name is a secret. Capitals, - and _ do not count.
func secretName(name string) bool {
	var plain [24]byte
	n := 0
	if name == "" || len(name) > len(plain) {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z':
			plain[n] = c + 'a' - 'A'
			n++
		case c != '-' && c != '_':
			plain[n] = c
			n++
		}
	}
	switch string(plain[:n]) {
	case "usersig", "sig", "signature", "token", "accesstoken", "authtoken", "idtoken", "refreshtoken", "jwt", "bearer",
		"auth", "authorization", "proxyauthorization", "cookie", "setcookie",
		"password", "passwd", "pass", "pwd", "icepwd", "secret", "clientsecret", "credential",
		"apikey", "xapikey", "streamkey", "accesskey", "secretkey", "privatekey":
		return true
	}
	return false
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// pair masks the value of a pair whose = or : is at i: name=value, name: value,
// "name": "value", \"name\":\"value\". It gives where the search goes on.
func (s *scrubber) pair(i int) int {
	t := s.text
	end := i
	for end > 0 && (t[end-1] == ' ' && t[i] == '=' || t[end-1] == '"' || t[end-1] == '\'' || t[end-1] == '\\') {
		end--
	}
	quoted := end < i && t[i-1] != ' '
	begin := end
	for begin > 0 && isWord(t[begin-1]) {
		begin--
	}
	name := t[begin:end]
	if !secretName(name) {
		return i
	}
	value := i + 1
	for value < len(t) && (t[value] == ' ' || t[value] == '\t') {
		value++
	}
	header := t[i] == ':' && isHeader(name)
	if t[i] == ':' && !quoted && !header && (value > i+1 || name == "credential") {
		return i // "a wrong token: check it" is prose, and credential:NAME is where a secret is
	}
	if header && value < len(t) && t[value] == '[' { // http.Header, printed
		value++
	}
	open := value
	for value < len(t) && (t[value] == '"' || t[value] == '\'' || t[value] == '\\') {
		value++
	}
	stops := " \t\r\n&;,\"')}]<>`\\"
	switch {
	case value > open:
		stops = t[value-1 : value]
		if value-open > 1 {
			stops += "\\"
		}
	case header:
		stops = "\r\n\"<>]`\\"
	}
	after := value
	for after < len(t) && strings.IndexByte(stops, t[after]) < 0 {
		if t[after] == '\\' && after+1 < len(t) {
			after++
		}
		after++
	}
	after = min(after, len(t))
	if open == value && !header {
		after = value + len(strings.TrimRight(t[value:after], ".:!"))
	}
	if header {
		// The scheme may be shown; prose as in "Authorization: Bearer with a token" is none.
		if word := strings.IndexByte(t[value:after], ' '); word >= 0 && isScheme(t[value:value+word]) {
			return i
		}
	}
	s.mask(value, after)
	return max(i, after-1)
}

func isHeader(name string) bool {
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key":
		return true
	}
	return false
}

func isScheme(word string) bool {
	switch strings.ToLower(word) {
	case "bearer", "basic":
		return true
	}
	return false
}

// scheme masks what follows "Bearer " whose blank is at i, if it can be a token.
func (s *scrubber) scheme(i int) {
	t := s.text
	begin := i
	for begin > 0 && isWord(t[begin-1]) {
		begin--
	}
	if !isScheme(t[begin:i]) {
		return
	}
	for i < len(t) && t[i] == ' ' {
		i++
	}
	end := i
	for end < len(t) && (isWord(t[end]) || strings.IndexByte(".~+/=%", t[end]) >= 0) {
		end++
	}
	if end-i >= leastMasked || strings.ContainsAny(t[i:end], "0123456789") {
		s.mask(i, end)
	}
}
