package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"anchord/device/config"
	"anchord/device/control"
	"anchord/internal/secret"
)

// tool is anchorctl: it says commands to the daemon and prints the answers.
type tool struct {
	in       io.Reader
	out, err io.Writer

	socket, url, tokenFile string
	asJSON                 bool
}

func ctl(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := &tool{in: stdin, out: stdout, err: stderr}
	f := t.flags()
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return done
		}
		return usage
	}
	words := f.Args()
	if len(words) == 0 {
		f.Usage()
		return usage
	}
	if words[0] == "__complete" {
		return t.complete(words[1:])
	}
	if w := misplaced(f, words); w != "" {
		return t.wrong("options stand before the command: anchorctl %s … %s", w, words[0])
	}
	switch words[0] {
	case "-":
		return t.lines()
	case "completion":
		return t.completion(words[1:])
	case "help":
		return t.help(words)
	case "probe":
		return probe(stdout, stderr)
	case "usersig":
		return userSig(words[1:], stdin, stdout, stderr)
	}
	words, file, err := outFile(words)
	if err != nil {
		return t.wrong("%v", err)
	}
	c, err := t.client()
	if err != nil {
		return t.wrong("%v", err)
	}
	switch {
	case file == "":
		return t.say(c, control.Line(words))
	case words[0] == "snapshot":
		return t.snapshot(c, words, file)
	default:
		return t.bundle(c, words, file)
	}
}

// locals are the commands that anchorctl does by itself.
func locals() []string { return []string{"help", "probe", "usersig", "completion", "-"} }

func (t *tool) flags() *flag.FlagSet {
	f := flag.NewFlagSet("anchorctl", flag.ContinueOnError)
	f.SetOutput(t.err)
	f.Usage = func() {
		fmt.Fprintln(t.err, "usage: anchorctl [-socket PATH | -url URL -token-file F] [-json] COMMAND…\n"+
			"       anchorctl help [COMMAND]   explains the commands, without a daemon\n"+
			"       anchorctl -                says the lines of standard input, a command each\n"+
			"       anchorctl snapshot -o FILE writes the next picture\n"+
			"       anchorctl support -o FILE  writes what is needed to find a fault\n"+
			"       anchorctl gsensor record -o FILE  writes what the G-sensor measures\n"+
			"       anchorctl probe            says what this board has, without a daemon\n"+
			"       anchorctl usersig -help    makes and checks TRTC's tokens, without a daemon\n"+
			"       anchorctl completion bash  prints a script: eval \"$(anchorctl completion bash)\"\n"+
			"Exit status: 0 done, 1 failed, 2 bad usage or configuration. Options:")
		f.PrintDefaults()
	}
	f.StringVar(&t.socket, "socket", "", "the daemon's control socket at `PATH`; default: what the configuration file says")
	f.StringVar(&t.url, "url", "", "the daemon's HTTP port, for instance http://127.0.0.1:8080")
	f.StringVar(&t.tokenFile, "token-file", "", "`FILE` with the bearer token for -url")
	f.BoolVar(&t.asJSON, "json", false, "print the answer as the line of JSON that it is")
	return f
}

// wrong says that anchorctl was called wrongly.
func (t *tool) wrong(format string, a ...any) int {
	fmt.Fprintf(t.err, "anchorctl: "+format+"\n", a...)
	return usage
}

// failed says that something did not work.
func (t *tool) failed(err error) int {
	fmt.Fprintln(t.err, "anchorctl:", err)
	return failed
}

// misplaced gives the first word that is one of f's options.
func misplaced(f *flag.FlagSet, words []string) string {
	for _, w := range words {
		name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
		if strings.HasPrefix(w, "-") && f.Lookup(name) != nil {
			return w
		}
	}
	return ""
}

// client gives the way to the daemon.
func (t *tool) client() (*control.Client, error) {
	c := &control.Client{Socket: t.socket, URL: t.url}
	switch {
	case t.url != "" && t.tokenFile == "":
		return nil, errors.New("-url needs -token-file: the file that [control.http] token_file names")
	case t.url != "":
		token, err := secret.Read(t.tokenFile)
		if err != nil {
			return nil, err
		}
		c.Token = token
	case c.Socket == "":
		file, _ := config.Load("") // a wrong one is the daemon's to complain of
		c.Socket = file.Control.Socket
	}
	return c, nil
}

// answerTime is how long an answer may be on its way, beside what its command takes.
const answerTime = 5 * time.Second

// ask says one line and gives the answer.
func (t *tool) ask(c *control.Client, line string) (*control.Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), control.Offline().Most(line)+answerTime)
	defer cancel()
	return c.Say(ctx, line)
}

// say says one line, prints the answer and gives the exit status.
func (t *tool) say(c *control.Client, line string) int {
	a, err := t.ask(c, line)
	if err != nil {
		return t.failed(err)
	}
	return t.print(a)
}

// print prints an answer and gives the exit status.
func (t *tool) print(a *control.Answer) int {
	text := ""
	if t.asJSON {
		text = string(a.Raw) + "\n"
	} else if a.Error == nil {
		text = a.Text()
	}
	if _, err := io.WriteString(t.out, text); err != nil {
		return t.failed(fmt.Errorf("the command was answered; write the answer: %w", err))
	}
	if a.Error == nil {
		return done
	}
	if !t.asJSON {
		fmt.Fprintf(t.err, "anchorctl: %s (%d %s)\n", a.Error.Message, a.Error.Code, a.Error.Slug)
	}
	if a.Error.Code >= control.CodeSyntax && a.Error.Code <= control.CodeTooLong {
		return usage
	}
	return failed
}

// help explains the commands: those of this program, or of the daemon that was named.
func (t *tool) help(words []string) int {
	if t.socket != "" || t.url != "" {
		c, err := t.client()
		if err != nil {
			return t.wrong("%v", err)
		}
		return t.say(c, control.Line(words))
	}
	a, err := control.Offline().Ask(context.Background(), control.Caller{Name: "anchorctl", Level: control.Admin}, words)
	if err != nil {
		return t.failed(err)
	}
	return t.print(a)
}

// lines says the lines of standard input, and gives the worst of their statuses. Lines that
// are empty or begin with # are for the reader.
func (t *tool) lines() int {
	c, err := t.client()
	if err != nil {
		return t.wrong("%v", err)
	}
	status := done
	s := bufio.NewScanner(t.in)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		a, err := t.ask(c, line)
		if err != nil {
			return t.failed(fmt.Errorf("line %d: %w", n, err))
		}
		if a.Error != nil && !t.asJSON {
			fmt.Fprintf(t.err, "line %d: ", n)
		}
		status = max(status, t.print(a))
	}
	if err := s.Err(); err != nil {
		return t.failed(fmt.Errorf("read standard input: %w", err))
	}
	return status
}
