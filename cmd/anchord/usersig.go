package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"anchord/internal/secret"
	"anchord/internal/trtc"
	"anchord/rtc/usersig"
)

const usersigUsage = `usage: anchorctl usersig sign   -sdkappid N -user U -key-file F [-time T] [-expire S] [-room N | -room-str S] [-privileges N]
       anchorctl usersig verify -sdkappid N -user U -key-file F [-time T] [-room N | -room-str S] [-privileges N] [TOKEN]
sign prints a token; verify reads one, from standard input if it is not given, and says whose it is.
With a room it is a ticket for that room (privateMapKey).
`

// usersigOptions are those of the command line.
type usersigOptions struct {
	key        usersig.Key
	user       string
	room       usersig.Room
	ticket     bool
	at         time.Time
	life       time.Duration
	privileges usersig.Rights
}

// userSig makes and checks TRTC's tokens, without a daemon.
func userSig(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] != "sign" && args[0] != "verify" {
		fmt.Fprint(stderr, usersigUsage)
		if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
			return done
		}
		return usage
	}
	o, rest, err := usersigFlags(args[0], args[1:], stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return done
	case err != nil:
		fmt.Fprintln(stderr, "anchorctl:", err)
		return usage
	}
	if args[0] == "sign" {
		return signUserSig(o, stdout, stderr)
	}
	token := strings.Join(rest, "")
	if len(rest) == 0 {
		b, err := io.ReadAll(io.LimitReader(stdin, secret.Most+1))
		if err != nil {
			fmt.Fprintln(stderr, "anchorctl: read the token from standard input:", err)
			return failed
		}
		token = string(b)
	}
	return verifyUserSig(o, strings.TrimSpace(token), stdout, stderr)
}

// usersigFlags reads the options; its error is one of usage.
func usersigFlags(verb string, args []string, stderr io.Writer) (o usersigOptions, rest []string, err error) {
	f := flag.NewFlagSet("anchorctl usersig "+verb, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, usersigUsage)
		f.PrintDefaults()
	}
	app := f.Uint64("sdkappid", 0, "the application's `number`")
	f.StringVar(&o.user, "user", "", "the user: up to 32 letters, digits, _ and -")
	keyFile := f.String("key-file", "", "`file` with the application's secret key, mode 0600")
	at := f.Int64("time", time.Now().Unix(), "when it is made, or checked: `seconds` since 1970")
	expire := int64(604800)
	privileges := uint64(usersig.EnterRoom)
	text := "what the ticket must allow"
	if verb == "sign" {
		f.Int64Var(&expire, "expire", expire, "how many `seconds` it is good")
		privileges, text = usersig.AllRights, "what the ticket allows"
	}
	number := f.Uint64("room", 0, "the ticket's room, a `number`")
	f.StringVar(&o.room.Text, "room-str", "", "the ticket's room, a `name`")
	f.Uint64Var(&privileges, "privileges", privileges, text+", the `sum` of: 1 create and 2 enter the room, 4 send and 8 receive sound, 16 send and 32 receive pictures, 64 send and 128 receive a second picture")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, nil, err
		}
		return o, nil, errors.New("see anchorctl usersig -help")
	}
	given := map[string]bool{}
	f.Visit(func(x *flag.Flag) { given[x.Name] = true })
	o.ticket = given["room"] || given["room-str"]
	switch rest = f.Args(); {
	case verb == "sign" && len(rest) > 0, len(rest) > 1:
		return o, nil, fmt.Errorf("%q is one argument too many; options stand before the token", rest[len(rest)-1])
	case *app == 0 || *app > math.MaxUint32:
		return o, nil, errors.New("-sdkappid is needed: 1 to 4294967295")
	case *keyFile == "":
		return o, nil, errors.New("-key-file is needed: the file with the application's secret key")
	case given["room"] && given["room-str"]:
		return o, nil, errors.New("-room and -room-str are two rooms: give one")
	case given["room"] && (*number == 0 || *number > math.MaxUint32):
		return o, nil, errors.New("-room: 1 to 4294967294")
	case given["privileges"] && !o.ticket:
		return o, nil, errors.New("-privileges belongs to a ticket: give -room or -room-str too")
	case privileges > math.MaxUint32:
		return o, nil, errors.New("-privileges: 0 to 255")
	case expire < 1 || expire > math.MaxUint32:
		return o, nil, errors.New("-expire: 1 to 4294967295 seconds")
	}
	if err := trtc.CheckUser(o.user); err != nil {
		return o, nil, fmt.Errorf("-user: %w", err)
	}
	o.key.AppID, o.room.Number = uint32(*app), uint32(*number)
	o.at, o.life, o.privileges = time.Unix(*at, 0), time.Duration(expire)*time.Second, usersig.Rights(privileges)
	if o.key.Secret, err = secret.Read(*keyFile); err == nil && o.key.Secret.IsZero() {
		err = errors.New("the file is empty")
	}
	if err != nil {
		return o, nil, fmt.Errorf("-key-file: %w", err)
	}
	return o, rest, nil
}

func signUserSig(o usersigOptions, stdout, stderr io.Writer) int {
	token, err := "", error(nil)
	if o.ticket {
		token, err = o.key.SignTicket(o.user, o.room, o.privileges, o.at, o.life)
	} else {
		token, err = o.key.Sign(o.user, o.at, o.life)
	}
	if err != nil {
		fmt.Fprintln(stderr, "anchorctl:", err)
		return usage // every value comes from the command line
	}
	if _, err := fmt.Fprintln(stdout, token); err != nil {
		fmt.Fprintln(stderr, "anchorctl: write the token:", err)
		return failed
	}
	return done
}

func verifyUserSig(o usersigOptions, token string, stdout, stderr io.Writer) int {
	var ticket *usersig.Ticket
	claims, err := &usersig.Claims{}, error(nil)
	if o.ticket {
		ticket, err = o.key.VerifyTicket(token, o.user, o.room, o.privileges, o.at)
	} else {
		claims, err = o.key.Verify(token, o.user, o.at)
	}
	var refused *usersig.Error
	if errors.As(err, &refused) {
		fmt.Fprintf(stderr, "anchorctl: %d %v: %s\n", int(refused.Code), refused.Code, refused.Message)
		return failed
	}
	if err != nil {
		fmt.Fprintln(stderr, "anchorctl:", err)
		return failed
	}
	show := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	out := ""
	if o.ticket {
		out = fmt.Sprintf("user: %s\nsdkappid: %d\nroom: %v\nprivileges: %d (%v)\nexpires: %s\n", ticket.User, ticket.AppID, ticket.Room, uint32(ticket.Rights), ticket.Rights, show(ticket.Ends))
	} else {
		out = fmt.Sprintf("user: %s\nsdkappid: %d\nmade: %s\nexpires: %s\n", claims.User, claims.AppID, show(claims.Made), show(claims.Ends()))
	}
	if _, err := io.WriteString(stdout, out); err != nil {
		fmt.Fprintln(stderr, "anchorctl: the token is good; say so:", err)
		return failed
	}
	return done
}
