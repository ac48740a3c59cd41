// Command anchord turns a Linux box with a camera and a microphone into an unattended
// participant of a WebRTC room. Started under the name anchorctl it is the client that
// tells a running daemon what to do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"anchord/device"
	"anchord/device/config"
	"anchord/internal/secret"
	"anchord/systemd"
)

// version is set by the linker.
var version = "unknown"

// Exit statuses.
const (
	done   = 0
	failed = 1
	usage  = 2 // bad usage or configuration
)

func main() {
	if filepath.Base(os.Args[0]) == "anchorctl" {
		os.Exit(ctl(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(daemonMain(os.Args[1:], os.Stdout, os.Stderr))
}

// daemonMain runs the daemon until a signal ends it; a second signal ends it at once.
func daemonMain(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "worker" {
		return workerMain(args[1:], stderr)
	}
	f := flag.NewFlagSet("anchord", flag.ContinueOnError)
	f.SetOutput(stderr)
	file := f.String("config", "", "`FILE` to read; default: /etc/anchord/anchord.toml, else configs/anchord.toml")
	check := f.Bool("check", false, "say what is wrong with the configuration, and end")
	show := f.Bool("version", false, "print the version, and end")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return done
		}
		return usage
	}
	if f.NArg() > 0 {
		fmt.Fprintf(stderr, "anchord: unknown argument %q; commands are for anchorctl\n", f.Arg(0))
		return usage
	}
	if *show {
		fmt.Fprintln(stdout, "anchord", version)
		return done
	}
	c, err := config.Load(*file)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return usage
	}
	name := c.Name
	if name == "" {
		name = "no file: the defaults hold"
	}
	if *check {
		fmt.Fprintf(stdout, "%s: good\n", name)
		return done
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		level = slog.LevelInfo // the file was checked
	}
	sink := systemd.NewLog(stderr, level)
	var mask secret.Mask
	sink.Hide(mask.Hide)
	log := slog.New(sink)
	slog.SetDefault(log) // for libraries that say something by themselves
	defer running(sink)()
	if err := noCores(); err != nil {
		log.Warn("a crash may leave a core file, with pictures, sound and secrets in it", "err", err)
	}
	log.Info("anchord starts", "version", version, "config", name)
	// Whoever reads the log may go away: that is no reason to end.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from now on a signal has its ordinary effect
	if err := start(ctx, c, log, sink, &mask); err != nil {
		log.Error("anchord ends", "err", err)
		return failed
	}
	log.Info("anchord ends")
	return done
}

// start makes the daemon of what the file and the store say, and runs it.
func start(ctx context.Context, file config.File, log *slog.Logger, sink *systemd.Log, mask *secret.Mask) error {
	dev := device.New(file.Config, file.From)
	kept, err := restore(ctx, dev, log.With("part", "store"))
	if err != nil {
		return err
	}
	defer kept.close()
	lines := logFile(dev.Wanted().Log, log, sink)
	d, err := wire(dev, log, sink, mask)
	if err != nil {
		return err
	}
	d.kept, d.logFile = kept, lines
	kept.tokens(&d.tokens)
	d.roster.Remember(kept.note(encoderNote), func(b []byte) { kept.keep(encoderNote, b) })
	kept.parts(&d.group)
	return d.run(ctx)
}
