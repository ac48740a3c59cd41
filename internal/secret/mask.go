package secret

import (
	"cmp"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Mask knows secrets in use and takes them out of text, whoever wrote it: the last line of
// defence, against a server that repeats our token in its answer. The zero Mask is ready;
// its methods may be called from any goroutine.
type Mask struct {
	mu   sync.Mutex
	kept []string // the newest last
	hide atomic.Pointer[strings.Replacer]
}

const (
	// leastMasked: a shorter one would take ordinary words out of ordinary text.
	leastMasked = 8
	// mostMasked: older ones were replaced by newer and are good for nothing.
	mostMasked = 32
)

// Add adds a secret. Those shorter than 8 bytes are passed over.
func (m *Mask) Add(v Value) {
	s := v.Reveal()
	if len(s) < leastMasked {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Contains(m.kept, s) {
		return
	}
	m.kept = append(m.kept[max(0, len(m.kept)-mostMasked+1):], s)
	all := slices.Clone(m.kept)
	// What one holds of another must not be left over.
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, s := range all {
		for _, w := range written(s) {
			pairs = append(pairs, w, Shown)
		}
	}
	m.hide.Store(strings.NewReplacer(pairs...))
}

// AddURL adds what may be a secret in an address: passwords, values of names such as token
// in the query, and whatever looks like a key.
func (m *Mask) AddURL(address string) {
	u, err := url.Parse(address)
	if err != nil {
		return // nobody can go there
	}
	if p, ok := u.User.Password(); ok {
		m.Add(New(p))
	}
	for name, values := range u.Query() {
		for _, v := range values {
			if secretName(name) || looksLikeKey(v) || v == "" && looksLikeKey(name) {
				m.Add(New(cmp.Or(v, name)))
			}
		}
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if looksLikeKey(part) {
			m.Add(New(part))
		}
	}
}

// written gives the ways in which a text is written: as it is, in URLs, JSON, Go's quotes
// and HTML.
func written(s string) []string {
	j, _ := json.Marshal(s) // a string always can be
	q := strconv.Quote(s)
	all := []string{s}
	for _, w := range []string{url.QueryEscape(s), url.PathEscape(s), string(j[1 : len(j)-1]), q[1 : len(q)-1], html.EscapeString(s)} {
		if !slices.Contains(all, w) {
			all = append(all, w)
		}
	}
	return all
}

// Hide gives the text with Shown for every secret that was added, and scrubbed.
func (m *Mask) Hide(text string) string {
	if r := m.hide.Load(); r != nil {
		text = r.Replace(text)
	}
	return Scrub(text)
}

// HideError gives err with its text as Hide gives it. errors.Is and errors.As see the same
// as in err, so what they find may have secrets in its own text.
func (m *Mask) HideError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if safe := m.Hide(text); safe != text {
		return &hiddenError{safe, err}
	}
	return err
}

// hiddenError is an error whose own text is not for showing.
type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.err }
