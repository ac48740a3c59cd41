package control

import (
	"context"
	"fmt"
	"strings"
)

// Level is how much somebody may do: each includes those below it. The zero Level may do
// nothing.
type Level int

// The levels.
const (
	Read    Level = iota + 1 // look: status, statistics, metrics, events
	Operate                  // what a person at the box does: room, camera, microphone, picture
	Admin                    // everything: settings, tokens, logs, restarts
)

// levels are the words for them, in their order.
var levels = [...]string{"", "read", "operate", "admin"}

// String gives the level's word, "none" for the zero Level.
func (l Level) String() string {
	if l < Read || l > Admin {
		return "none"
	}
	return levels[l]
}

// Allows tells whether who has l may do what needs the level need.
func (l Level) Allows(need Level) bool { return l >= need && need >= Read && l <= Admin }

// ParseLevel reads a level's word.
func ParseLevel(s string) (Level, error) {
	for l := Read; l <= Admin; l++ {
		if s == levels[l] {
			return l, nil
		}
	}
	return 0, fmt.Errorf("level %s: allowed: %s", short(s), strings.Join(levels[1:], ", "))
}

// Authenticator knows who a bearer token belongs to. It may be called from any goroutine.
type Authenticator interface {
	// Authenticate gives the name and the level of who holds the token. ok is false when
	// nobody does, or not any more. The time it takes says nothing about the tokens that
	// there are.
	Authenticate(token string) (name string, level Level, ok bool)
	// While gives a context that ends when the token does, for requests that last. The
	// caller calls done.
	While(ctx context.Context, token string) (_ context.Context, done func())
}
