package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"anchord/hal"
	"anchord/hal/fake"
	"anchord/hal/openh264"
	"anchord/hal/worker"
	"anchord/internal/media"
)

// workerSocket is the descriptor on which a worker speaks with the daemon.
const workerSocket = 3

// workerMain is `anchord worker NAME`: a process that owns one encoder for the daemon that
// started it. It ends with its socket.
func workerMain(args []string, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, "anchord worker: started by the daemon, with the name of one encoder")
		return usage
	}
	// What ends the daemon ends its workers: it closes their sockets when it is done with
	// them, and whoever stops a whole service at once must not be quicker.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	runtime.GOMAXPROCS(1) // one picture at a time: a second thread only adds wake-ups
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{} // the daemon's log has it
		}
		return a
	}}))
	m, err := encoderNamed(args[0], log)
	if err == nil {
		err = worker.Serve(context.Background(), workerSocket, m)
	}
	if err != nil {
		fmt.Fprintln(stderr, "anchord worker:", err)
		return failed
	}
	return done
}

// encoderNamed gives the encoders that a worker can be started for: openh264, fake, and
// for tests of the whole faulty:FAULT:PICTURES:NAME, which is NAME until so many pictures
// are coded and then shows one of the faults of package fake.
func encoderNamed(name string, log *slog.Logger) (hal.VideoEncoders, error) {
	kind, rest, _ := strings.Cut(name, ":")
	switch kind {
	case "openh264":
		return openh264.New(openh264.Config{Log: log}), nil
	case "fake":
		return &fake.Encoders{}, nil
	case "faulty":
		if p := strings.SplitN(rest, ":", 3); len(p) == 3 {
			n, err := strconv.Atoi(p[1])
			if err != nil {
				return nil, fmt.Errorf("encoder %q: %q is no number of pictures", name, p[1])
			}
			m, err := encoderNamed(p[2], log)
			return fake.Faulty{VideoEncoders: m, Fault: fake.EncoderFault(p[0]), After: n}, err
		}
	}
	return nil, fmt.Errorf("there is no encoder %q: %w", name, hal.ErrUnsupported)
}

// inWorker gives the encoders of that name, each in a process of its own.
func inWorker(name string, px []media.PixelFormat, log *slog.Logger) *worker.Encoders {
	kind, _, _ := strings.Cut(name, ":")
	return worker.New(worker.Config{Log: log, Name: kind, Command: []string{"anchord", "worker", name}, Self: true, Inputs: px})
}
