package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"anchord/device/config"
	"anchord/device/control"
	"anchord/internal/secret"
)

// ctl is anchorctl: it says one command to the daemon and prints the answer.
func ctl(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("anchorctl", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: anchorctl [-socket PATH | -url URL -token-file F] [-json] COMMAND…\n"+
			"       anchorctl help             lists the commands of the running daemon\n"+
			"       anchorctl snapshot -o FILE writes the next picture\n"+
			"       anchorctl probe            says what this board has, without a daemon")
		f.PrintDefaults()
	}
	path := f.String("socket", "", "the daemon's control socket; default: what the configuration file says")
	url := f.String("url", "", "the daemon's HTTP port, for instance http://127.0.0.1:8080")
	tokenFile := f.String("token-file", "", "file with the bearer token for -url")
	asJSON := f.Bool("json", false, "print the answer as one line of JSON")
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
	if w := misplaced(f, words); w != "" {
		fmt.Fprintf(stderr, "anchorctl: options stand before the command: anchorctl %s … %s\n", w, words[0])
		return usage
	}
	if words[0] == "probe" {
		return probe(stdout, stderr)
	}
	words, out, err := outFile(words)
	if err != nil {
		fmt.Fprintln(stderr, "anchorctl:", err)
		return usage
	}
	c := control.Client{Socket: *path, URL: *url}
	if *url != "" {
		if *tokenFile == "" {
			fmt.Fprintln(stderr, "anchorctl: -url needs -token-file: the file that [control.http] token_file names")
			return usage
		}
		if c.Token, err = secret.Read(*tokenFile); err != nil {
			fmt.Fprintln(stderr, "anchorctl:", err)
			return usage
		}
	} else if c.Socket == "" {
		file, _ := config.Load("") // a wrong one is the daemon's to complain of
		c.Socket = file.Control.Socket
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	a, err := c.Do(ctx, words)
	if err != nil {
		fmt.Fprintln(stderr, "anchorctl:", err)
		return failed
	}
	if out != "" && a.Error == nil {
		return writeSnapshot(a, out, stdout, stderr)
	}
	text := ""
	if *asJSON {
		text = string(a.Raw) + "\n"
	} else if a.Error == nil {
		text = a.Text()
	}
	if _, err := io.WriteString(stdout, text); err != nil {
		fmt.Fprintln(stderr, "anchorctl: the command was answered; write the answer:", err)
		return failed
	}
	if a.Error != nil {
		if !*asJSON {
			fmt.Fprintf(stderr, "anchorctl: %s (%d %s)\n", a.Error.Message, a.Error.Code, a.Error.Slug)
		}
		if a.Error.Code >= control.CodeSyntax && a.Error.Code <= control.CodeArgument {
			return usage
		}
		return failed
	}
	return done
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

// outFile takes "-o FILE" out of a snapshot command, which then asks for the file itself.
func outFile(words []string) (rest []string, file string, err error) {
	if words[0] != "snapshot" {
		return words, "", nil
	}
	for i, w := range words {
		if w != "-o" {
			continue
		}
		if i+1 == len(words) {
			return nil, "", errors.New("-o needs a file")
		}
		rest = append(rest, words[:i]...)
		rest = append(rest, words[i+2:]...)
		return append(rest, "data=on"), words[i+1], nil
	}
	return words, "", nil
}

func writeSnapshot(a *control.Answer, file string, stdout, stderr io.Writer) int {
	b, err := base64.StdEncoding.DecodeString(a.Word("jpeg"))
	if err == nil && file == "-" {
		_, err = stdout.Write(b)
	} else if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		fmt.Fprintln(stderr, "anchorctl: write the snapshot:", err)
		return failed
	}
	if file != "-" {
		fmt.Fprintf(stdout, "%s: %s, %d bytes\n", file, strings.TrimSpace(a.Word("size")), len(b))
	}
	return done
}
