package rtc

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLog passes on what pion logs: its errors as warnings (they are about one packet
// or one candidate, and the session judges by itself), its warnings for debugging,
// and nothing below, which would be a line per packet.
type pionLog struct{ log *slog.Logger }

// NewLogger is pion's.
func (p pionLog) NewLogger(scope string) logging.LeveledLogger {
	return pionScope{p.log.With("pion", scope)}
}

type pionScope struct{ log *slog.Logger }

func (pionScope) Trace(string)          {}
func (pionScope) Tracef(string, ...any) {}
func (pionScope) Debug(string)          {}
func (pionScope) Debugf(string, ...any) {}
func (pionScope) Info(string)           {}
func (pionScope) Infof(string, ...any)  {}

func (p pionScope) Warn(msg string)              { p.log.Debug(msg) }
func (p pionScope) Warnf(f string, args ...any)  { p.printf(slog.LevelDebug, f, args) }
func (p pionScope) Error(msg string)             { p.log.Warn(msg) }
func (p pionScope) Errorf(f string, args ...any) { p.printf(slog.LevelWarn, f, args) }

func (p pionScope) printf(l slog.Level, f string, args []any) {
	if p.log.Enabled(context.Background(), l) {
		p.log.Log(context.Background(), l, fmt.Sprintf(f, args...))
	}
}
