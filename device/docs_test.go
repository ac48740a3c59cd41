package device

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// eventsDocument gives docs/events.md.
func eventsDocument() string {
	var b strings.Builder
	b.WriteString(`# Events

<!-- Made from the table in device by: UPDATE=1 go test ./device -run Document -->

What happens on the box, as it happens. Names that begin with ` + "`on`" + ` are TRTC's, and so are their details.

` + "```" + `
anchorctl events                              prints them until it is interrupted; with -json as lines of JSON
anchorctl events onEnterRoom 'onConnection*'  only these; a name may end with *
anchorctl events list 50                      the newest 50
events on                                     a line on the control socket: from now on they come between answers
events on health, onError since=q7m2kdab-17   only these, and those that came after that one
GET /v1/events?names=health,onError           Server-Sent Events, with the same bearer token as all requests
` + "```" + `

On the socket an event is a line ` + "`*e NAME KEY=VALUE …`" + `, values with spaces quoted as in JSON. It never stands within an answer. If ` + "`events on`" + ` was said in
JSON, it is a line of JSON without ` + "`ok`" + `:

` + "```" + `
*e onEnterRoom result=340
{"event":"onEnterRoom","id":"q7m2kdab-17","time":"2026-11-25T10:16:03.120Z","fields":{"result":340}}
` + "```" + `

By HTTP the same JSON is the ` + "`data:`" + ` of a message whose ` + "`event:`" + ` is the name and whose ` + "`id:`" + ` is the id. The daemon keeps the newest ` + fmt.Sprint(keptEvents) + ` events. A
listener that was cut off says the id of the last one that it heard (` + "`Last-Event-ID`, `?since=` or `since=`" + `) and gets what it missed; 0 gives all that are
kept. An id holds which life of the daemon it is of: after a restart the listener is told by ` + "`" + Dropped + "`" + `, and gets all that the new one has said.

A listener that does not keep up loses the oldest, and is told by ` + "`" + Dropped + "`" + `. Nobody else waits for it.

| event | when | fields |
|---|---|---|
`)
	for _, k := range EventKinds() {
		var details []string
		for _, d := range k.Details {
			s := "`" + d.Key + "`"
			if d.Optional {
				s += " (not always)"
			}
			details = append(details, s+" "+d.Text)
		}
		when := k.When
		if k.Passing {
			when += " It is not kept, and goes only to those who ask for it by its whole name."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Name, when, strings.Join(details, "; "))
	}
	return b.String()
}

func TestEventsDocumentIsUpToDate(t *testing.T) {
	const name = "../docs/events.md"
	want := eventsDocument()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("docs/events.md is not what the table says; make it anew with: UPDATE=1 go test ./device -run Document\n%s", d)
	}
}

func TestEventKindsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range EventKinds() {
		if l := strings.ToLower(k.Name); seen[l] || k.When == "" || strings.ContainsAny(k.Name, " ,*=\"") {
			t.Errorf("%q", k.Name)
		} else {
			seen[l] = true
		}
		for _, d := range k.Details {
			if d.Key == "" || d.Text == "" || strings.ContainsAny(d.Key, " =\"") {
				t.Errorf("%s: %+v", k.Name, d)
			}
		}
	}
}
