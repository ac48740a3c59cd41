// Package e2e holds the whole-daemon tests of this machine: the built binary, a real
// PulseAudio server, the embedded room, Chromium, and a receiver for what must be exact.
package e2e
