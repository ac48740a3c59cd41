package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"anchord/device/config"
	"anchord/device/control"
	"anchord/internal/logfile"
	"anchord/systemd"
)

// lastLines is how long the end waits for the log: for a terminal that somebody stopped,
// or a disk that does not answer, it does not.
const lastLines = time.Second

// running has the log written by a goroutine of its own, and gives what ends that.
func running(sink *systemd.Log) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	sink.Queue()
	go func() {
		defer close(ended)
		_ = sink.Run(ctx) // it has no errors but the context's
	}()
	return func() {
		cancel()
		t := time.NewTimer(lastLines)
		defer t.Stop()
		select {
		case <-ended:
		case <-t.C: // the process ends with it
		}
	}
}

// noCores has no core file left by a crash, of this process and of its children: memory
// holds pictures, sound and secrets. Who sets GOTRACEBACK=crash, Go's word for wanting one,
// gets it. systemd-coredump keeps to the limit too
// (https://www.freedesktop.org/software/systemd/man/latest/systemd-coredump.html). The
// process stays "dumpable" (https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html):
// without that nobody but root could look at its files and threads, and who may trace it
// may read its token files anyway.
func noCores() error {
	if os.Getenv("GOTRACEBACK") == "crash" {
		return nil
	}
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &r); err != nil {
		return fmt.Errorf("look at the limit of core files: %w", err)
	}
	r.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &r); err != nil {
		return fmt.Errorf("set the limit of core files: %w", err)
	}
	return nil
}

// logFile sets what is wanted of the log: its level, and its file, which it gives; nil:
// none. A crash is written there too, which only stderr has otherwise.
func logFile(c config.Log, log *slog.Logger, sink *systemd.Log) *logfile.File {
	if _, err := sink.SetLevel("", c.Level); err != nil {
		log.Error("set the log's level", "err", err)
	}
	if c.File == "" {
		return nil
	}
	f := logfile.New(logfile.Config{Path: c.File, Max: int64(c.MaxMB) * 1e6, Log: log.With("part", "log"), Opened: func(f *os.File) {
		if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
			log.Debug("a crash would be on stderr only", "err", err)
		}
	}})
	sink.Also(f)
	return f
}

// logLevel is the command: see systemd.Log.SetLevel.
func (d *daemon) logLevel(part, level string) (control.Fields, error) {
	old, err := d.sink.SetLevel(part, level)
	if err != nil {
		return nil, control.Errorf(control.CodeArgument, "%v", err)
	}
	now, err := d.sink.SetLevel(part, "")
	if err != nil {
		return nil, err
	}
	f := control.Fields{{Key: "level", Value: now}, {Key: "was", Value: old}}
	own := control.Fields{}
	levels := d.sink.PartLevels()
	for _, p := range d.sink.Parts() {
		if l, ok := levels[p]; ok {
			own = append(own, control.Field{Key: p, Value: l})
		}
	}
	if len(own) > 0 {
		f = append(f, control.Field{Key: "parts", Value: own})
	}
	return f, nil
}

// logTail is the command: see systemd.Log.Tail.
func (d *daemon) logTail(lines int, least, part string) ([]string, error) {
	if _, err := d.sink.SetLevel(part, ""); err != nil {
		return nil, control.Errorf(control.CodeArgument, "%v", err)
	}
	return d.sink.Tail(lines, least, part), nil
}
