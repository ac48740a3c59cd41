// Package secret holds what must be in no log, error, answer or argument: a value that
// never prints itself, where it is read from, and the rules by which foreign text is made
// safe to show.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Shown stands for a secret wherever one is printed.
const Shown = "***"

// Value is a secret. Whatever prints or encodes it gets Shown, or nothing if it is empty;
// only Reveal gives it away. The zero Value is empty. Two are compared with Equal.
type Value struct {
	_ [0]func() // == would tell by its time how much of them is the same
	// Formatters do not call the methods of a field without a capital: they look into it,
	// and show a pointer's address there, never what it points to.
	p *string
}

// New makes a secret of a text.
func New(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{p: &s}
}

// Reveal gives the secret itself: to who sends or checks it, and to nobody who prints it.
func (v Value) Reveal() string {
	if v.p == nil {
		return ""
	}
	return *v.p
}

// IsZero tells whether there is no secret.
func (v Value) IsZero() bool { return v.p == nil }

// Len gives its length in bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// Equal compares in a time that says nothing about either. Two empty ones are not equal:
// no secret opens no door.
func (v Value) Equal(w Value) bool {
	a, b := sha256.Sum256([]byte(v.Reveal())), sha256.Sum256([]byte(w.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && !v.IsZero()
}

// String gives Shown.
func (v Value) String() string {
	if v.IsZero() {
		return ""
	}
	return Shown
}

// Format prints String, whatever the verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// LogValue implements slog.LogValuer.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }

// MarshalText gives String: to JSON, TOML, XML and what else asks for it.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// GobEncode gives String.
func (v Value) GobEncode() ([]byte, error) { return []byte(v.String()), nil }

// errShown says that a text was taken from where secrets are shown.
var errShown = errors.New("*** is what is shown in place of a secret: give the secret itself")

// UnmarshalText takes the text as the secret.
func (v *Value) UnmarshalText(b []byte) error {
	if string(b) == Shown {
		return errShown
	}
	*v = New(string(b))
	return nil
}

// GobDecode refuses: what was encoded is not the secret.
func (v *Value) GobDecode([]byte) error { return errShown }
