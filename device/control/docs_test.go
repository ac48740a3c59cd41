package control

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// document gives docs/commands.md.
func document(table Table) string {
	var b strings.Builder
	b.WriteString(`# Commands

<!-- Made from the table in device/control by: UPDATE=1 go test ./device/control -run Document -->

The same words work everywhere: with ` + "`anchorctl`" + `, as lines on the control socket, and as JSON on the socket and by HTTP.

` + "```" + `
anchorctl room enter id=101 user=cart-7        one command, from a shell
room enter 101 cart-7                          a line on the socket; arguments by name or by position
@17 room show                                  a tag: every line of the answer begins with it
{"id":7,"cmd":"room enter","args":{"id":101}}  a line of JSON on the socket, or the body of POST /v1/command
` + "```" + `

A line is answered by lines ` + "`key: value`" + ` and then exactly one last line, ` + "`OK` or `ERR <code> <slug> <message>`" + `;
a line of JSON by exactly one line of JSON. Values with spaces are quoted as in JSON: ` + "`camera select \"HD Pro Webcam\"`" + `.
A line has at most ` + fmt.Sprint(MaxLine) + ` bytes and ends with LF, CR or CRLF; a line without its end is not done. In JSON nothing may be
given twice, and nothing that is not known. A command that changes something answers ` + "`unchanged: yes`" + ` when it was so already.

## Errors

An error of the room engine has TRTC's negative code and name. The others:

| code | slug | meaning |
|---|---|---|
`)
	for _, e := range []struct {
		code int
		text string
	}{
		{CodeSyntax, "the line cannot be read"}, {CodeUnknown, "there is no such command"},
		{CodeArgument, "an argument is missing, not known, given twice, or has a wrong value"},
		{CodeTooLong, "the line or the body is too long"}, {CodeState, "the command does not fit how the box stands"},
		{CodeNotFound, "what it names is not there"}, {CodeTimeout, "the part that does it did not answer in time"},
		{CodeBusy, "too many clients at once"}, {CodeDenied, "no or a wrong token"}, {CodeForbidden, "the token does not allow it"}, {CodeInternal, "a fault of the daemon: please report it"},
	} {
		fmt.Fprintf(&b, "| %d | %s | %s |\n", e.code, slug(e.code), e.text)
	}
	group := ""
	for _, c := range table {
		g, _, two := strings.Cut(c.Name, " ")
		if !two && !slices.ContainsFunc(table, func(o Command) bool { return strings.HasPrefix(o.Name, c.Name+" ") }) {
			g = "general"
		}
		if g != group {
			group = g
			fmt.Fprintf(&b, "\n## %s\n", strings.ToUpper(g[:1])+g[1:])
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n%s Needs the level %s.\n", c.Name, c.Help, c.Level)
		if len(c.Args) > 0 {
			b.WriteString("\n| argument | value | if not given | |\n|---|---|---|---|\n")
		}
		for i := range c.Args {
			a := &c.Args[i]
			without := "an error"
			switch {
			case a.Default != "":
				without = a.Default
			case a.Optional:
				without = "may be left out"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", a.Name, a.values(), without, a.Help)
		}
		fmt.Fprintf(&b, "\nFor example: `%s`\n", c.example())
	}
	return b.String()
}

func TestDocumentIsUpToDate(t *testing.T) {
	const name = "../../docs/commands.md"
	want := document(Commands(parts()))
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll("../../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("docs/commands.md is not what the table says; make it anew with: UPDATE=1 go test ./device/control -run Document\n%s", d)
	}
}
