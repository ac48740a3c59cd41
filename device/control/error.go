package control

import (
	"context"
	"errors"
	"fmt"

	"anchord/device"
	"anchord/hal"
	"anchord/internal/trtc"
)

// Codes of errors of commands, 100…999. An error of the engine has TRTC's negative code
// instead.
const (
	CodeSyntax    = 100 // the line cannot be read
	CodeUnknown   = 101 // there is no such command
	CodeArgument  = 102 // an argument is missing, unknown, or of the wrong type or value
	CodeTooLong   = 103 // the line or body is too long
	CodeState     = 110 // the command does not fit how the box stands
	CodeNotFound  = 111 // what it names is not there
	CodeTimeout   = 112 // the part that does it did not answer in time
	CodeBusy      = 113 // too many at once
	CodeDenied    = 120 // no or a wrong token
	CodeForbidden = 121 // the token does not allow it
	CodeInternal  = 500 // a fault of ours
)

// slug gives a code's name.
func slug(code int) string {
	switch code {
	case CodeSyntax:
		return "syntax"
	case CodeUnknown:
		return "unknown-command"
	case CodeArgument:
		return "bad-argument"
	case CodeTooLong:
		return "too-long"
	case CodeState:
		return "bad-state"
	case CodeNotFound:
		return "not-found"
	case CodeTimeout:
		return "timeout"
	case CodeBusy:
		return "busy"
	case CodeDenied:
		return "denied"
	case CodeForbidden:
		return "forbidden"
	}
	if name := trtc.Code(code).Meaning().Name; name != "" {
		return name
	}
	return "internal"
}

// Error is a command's error.
type Error struct {
	Code    int
	Message string // what is wrong, and what to do
}

// Errorf makes an Error.
func Errorf(code int, format string, a ...any) *Error {
	return &Error{code, fmt.Sprintf(format, a...)}
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

// errorOf gives any error a code.
func errorOf(err error) *Error {
	var e *Error
	var want *device.WantError
	var id *trtc.IDError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &want):
		if code := want.Faults[0].Code; code != 0 {
			return &Error{int(code), err.Error()}
		}
		return &Error{CodeArgument, err.Error()}
	case errors.As(err, &id):
		return &Error{int(id.Code), err.Error()}
	case errors.Is(err, device.ErrNotKept):
		return &Error{CodeState, err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{CodeTimeout, err.Error()}
	case errors.Is(err, hal.ErrGone):
		return &Error{CodeNotFound, err.Error()}
	}
	return &Error{CodeInternal, err.Error()}
}
