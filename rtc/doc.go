// Package rtc is the anchor in the room: it enters, publishes, loses, recovers and
// exits. Packets come in by Session's mailboxes, events and demand go out.
package rtc
