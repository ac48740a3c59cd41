package device

import (
	"fmt"
	"slices"
	"strings"

	"anchord/internal/trtc"
)

// Names of events that are not TRTC's.
const (
	HealthEvent  = "health"
	ConfigEvent  = "config"
	JobEvent     = "job"
	GSensorEvent = "gsensor"
	Dropped      = "dropped" // to one reader alone: it lost some
)

// EventKind is a row of the table of events.
type EventKind struct {
	Name    string
	When    string
	Details []DetailKind
	// Passing events are not kept, and go only to those who ask for them by name.
	Passing bool
}

// DetailKind is one detail that an event has.
type DetailKind struct {
	Key, Text string
	Optional  bool
}

// EventKinds gives the table of all events there are.
func EventKinds() []EventKind { return slices.Clone(eventKinds) }

var eventKinds = []EventKind{
	{Name: trtc.OnEnterRoom, When: "The room was entered, or cannot be entered for now. The box goes on trying.",
		Details: []DetailKind{{Key: "result", Text: "above 0: the milliseconds that it took; below 0: the error's code"}, {Key: "text", Text: "why not", Optional: true}}},
	{Name: trtc.OnExitRoom, When: "The room was left.",
		Details: []DetailKind{{Key: "reason", Text: "0 somebody on our side asked for it, 1 the room threw this user out, 2 the room was dissolved"}, {Key: "text", Text: "the room's words", Optional: true}}},
	{Name: trtc.OnConnectionLost, When: "Nothing was heard from the room for 8 s."},
	{Name: trtc.OnTryToReconnect, When: "3 s after onConnectionLost, and every 24 s from then on, until the connection is back. Tries are made much more often."},
	{Name: trtc.OnConnectionRecovery, When: "The connection that was lost is back."},
	{Name: trtc.OnSendFirstLocalVideoFrame, When: "The first picture went to the room.",
		Details: []DetailKind{{Key: "streamType", Text: "0, the main picture"}}},
	{Name: trtc.OnSendFirstLocalAudioFrame, When: "The first sound went to the room."},
	{Name: trtc.OnRemoteUserEnterRoom, When: "Another user came.", Details: []DetailKind{{Key: "userId", Text: "who"}}},
	{Name: trtc.OnRemoteUserLeaveRoom, When: "Another user went.",
		Details: []DetailKind{{Key: "userId", Text: "who"}, {Key: "reason", Text: "0 left, 1 lost, 2 thrown out, 3 became audience"}}},
	{Name: trtc.OnCameraDidReady, When: "A camera streams.",
		Details: []DetailKind{{Key: "deviceId", Text: "which"}, {Key: "width", Text: "pixels"}, {Key: "height", Text: "pixels"}, {Key: "frameRate", Text: "frames a second that it promised"}, {Key: "format", Text: "pixel format"}}},
	{Name: trtc.OnMicDidReady, When: "A microphone records.",
		Details: []DetailKind{{Key: "deviceId", Text: "which"}, {Key: "audioSampleRate", Text: "Hz"}, {Key: "channels", Text: "1 or 2"}}},
	{Name: trtc.OnDeviceChange, When: "A camera or microphone was plugged in or out.",
		Details: []DetailKind{{Key: "deviceId", Text: "which"}, {Key: "type", Text: "0 microphone, 2 camera"}, {Key: "state", Text: "0 plugged in, 1 plugged out"}, {Key: "text", Text: "the same in words"}}},
	{Name: trtc.OnError, When: "Something does not work. Once for each time that it begins.",
		Details: []DetailKind{{Key: "errCode", Text: "TRTC's code, below 0"}, {Key: "errMsg", Text: "what is wrong"}, {Key: "extInfo", Text: "the condition's name, see docs/codes.md", Optional: true}}},
	{Name: trtc.OnWarning, When: "Something is worse than it should be. Once for each time that it begins.",
		Details: []DetailKind{{Key: "warningCode", Text: "TRTC's code, above 0"}, {Key: "warningMsg", Text: "what is wrong"}, {Key: "extInfo", Text: "the condition's name, see docs/codes.md", Optional: true}}},
	{Name: HealthEvent, When: "A condition is raised or cleared. `health` shows all that stand.",
		Details: []DetailKind{{Key: "slug", Text: "the condition's name"}, {Key: "state", Text: "raised, cleared"}, {Key: "severity", Text: "error, warning, info"},
			{Key: "code", Text: "TRTC's code", Optional: true}, {Key: "part", Text: "camera, mic, encoder, room, store …"},
			{Key: "cause", Text: "what is wrong; of raised", Optional: true}, {Key: "do", Text: "what to do; of raised", Optional: true}, {Key: "seconds", Text: "how long it stood; of cleared", Optional: true}}},
	{Name: ConfigEvent, When: "Somebody changed what is wanted, one event a key.",
		Details: []DetailKind{{Key: "key", Text: "dotted, as in the file"}, {Key: "value", Text: "what is wanted now"}, {Key: "by", Text: "who: socket and the user there, or token and its name"}}},
	{Name: JobEvent, When: "A job that a command began has got further.",
		Details: []DetailKind{{Key: "id", Text: "the job's number"}, {Key: "command", Text: "that began it"}, {Key: "state", Text: "running, done, failed, cancelled"},
			{Key: "code", Text: "of failed", Optional: true}, {Key: "message", Text: "of failed", Optional: true}}},
	{Name: GSensorEvent, When: "The box stands on another side, and its picture is turned accordingly.",
		Details: []DetailKind{{Key: "adds", Text: "degrees clockwise that the sensor adds to video rotation: 0, 90, 180, 270"}, {Key: "angle", Text: "what it measured, in degrees"}}},
	{Name: trtc.OnStatistics, Passing: true, When: "Every 2 s while somebody listens for it.",
		Details: []DetailKind{{Key: "appCpu", Text: "this process, percent of all processors"}, {Key: "systemCpu", Text: "the whole box, percent"},
			{Key: "appMemoryUsageInMB", Text: "of this process"}, {Key: "systemMemoryInMB", Text: "that the box has"}, {Key: "systemMemoryUsageInMB", Text: "of it in use"},
			{Key: "upLoss", Text: "percent of the packets lost on their way to the room"}, {Key: "rtt", Text: "milliseconds there and back; 0: not known"},
			{Key: "sentBytes", Text: "of media since the start"}, {Key: "streamType", Text: "0, the main picture"}, {Key: "width", Text: "pixels"}, {Key: "height", Text: "pixels"},
			{Key: "frameRate", Text: "pictures sent a second"}, {Key: "videoBitrate", Text: "kbit/s"}, {Key: "audioSampleRate", Text: "Hz"}, {Key: "audioBitrate", Text: "kbit/s"},
			{Key: "audioCaptureState", Text: "0 normal, 1 long silence"}}},
	{Name: Dropped, When: "To one listener alone: events before this one were lost to it.",
		Details: []DetailKind{{Key: "n", Text: "how many; when it was away, of all names"}, {Key: "why", Text: "slow: it did not read them in time; old: it was away too long; restart: the daemon was started anew, and n counts only what the new one said"}}},
}

func kindOf(name string) *EventKind {
	for i := range eventKinds {
		if eventKinds[i].Name == name {
			return &eventKinds[i]
		}
	}
	return nil
}

func passing(name string) bool {
	k := kindOf(name)
	return k != nil && k.Passing
}

// Filter chooses events. The zero Filter lets all pass but those that are called Passing.
type Filter struct{ patterns []string }

// mostPatterns bounds a filter.
const mostPatterns = 32

// ParseFilter reads names separated by commas or spaces, in any case; a name may end with
// *, which stands for any ending. The error names what fits no event.
func ParseFilter(s string) (Filter, error) {
	var f Filter
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		i := slices.IndexFunc(eventKinds, func(k EventKind) bool { return fits(w, k.Name) })
		if star := strings.IndexByte(w, '*'); i < 0 || star >= 0 && star != len(w)-1 {
			return Filter{}, fmt.Errorf("no event is named %q: %s, or the beginning of one with *", short(w), strings.Join(names(), ", "))
		} else if star < 0 {
			w = eventKinds[i].Name
		}
		if !slices.Contains(f.patterns, w) {
			f.patterns = append(f.patterns, w)
		}
		if len(f.patterns) > mostPatterns {
			return Filter{}, fmt.Errorf("at most %d names", mostPatterns)
		}
	}
	return f, nil
}

func short(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func names() []string {
	out := make([]string, len(eventKinds))
	for i, k := range eventKinds {
		out[i] = k.Name
	}
	return out
}

// fits tells whether a pattern names an event.
func fits(pattern, name string) bool {
	if begin, ok := strings.CutSuffix(pattern, "*"); ok {
		return len(name) >= len(begin) && strings.EqualFold(name[:len(begin)], begin) && !passing(name)
	}
	return strings.EqualFold(pattern, name)
}

// Passes tells whether an event of that name passes.
func (f Filter) Passes(name string) bool {
	if len(f.patterns) == 0 {
		return !passing(name)
	}
	return slices.ContainsFunc(f.patterns, func(p string) bool { return fits(p, name) })
}

// String gives the filter as ParseFilter reads it, "all" for the one that lets all pass.
func (f Filter) String() string {
	if len(f.patterns) == 0 {
		return "all"
	}
	return strings.Join(f.patterns, ",")
}

// CheckEvent tells what in an event is not as the table says: tests of those who publish
// call it.
func CheckEvent(e Event) error {
	k := kindOf(e.Name)
	if k == nil {
		return fmt.Errorf("event %s is in no row of the table", e.Name)
	}
	seen := map[string]bool{}
	for _, d := range e.Details {
		if seen[d.Key] || !slices.ContainsFunc(k.Details, func(o DetailKind) bool { return o.Key == d.Key }) {
			return fmt.Errorf("event %s: detail %s is in no row of the table, or there twice", e.Name, d.Key)
		}
		seen[d.Key] = true
		switch d.Value.(type) {
		case string, bool, int, uint64, float64:
		default:
			return fmt.Errorf("event %s: %s is a %T", e.Name, d.Key, d.Value)
		}
	}
	for _, d := range k.Details {
		if !d.Optional && !seen[d.Key] {
			return fmt.Errorf("event %s: detail %s is missing", e.Name, d.Key)
		}
	}
	return nil
}
