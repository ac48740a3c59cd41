package device

import (
	"slices"
	"time"

	"anchord/internal/trtc"
)

// Condition is a row of the table of what can be wrong.
type Condition struct {
	Slug     string
	Codes    []trtc.Code // TRTC's, told to listeners once for each time that it begins; may be empty
	Severity Severity
	Part     string // whose it is
	Text     string // what is wrong
	Do       string // what to do
	// Visible is how long it must have lasted before anybody is told.
	Visible time.Duration
	// Under are conditions that explain this one: while one of them is so, it is not shown.
	Under []string
	// Stays says that it is over when it is found, and stands until somebody has seen it
	// (errors clear).
	Stays bool
}

// Code gives the code that stands for the condition, 0 if TRTC has none.
func (c *Condition) Code() trtc.Code {
	if len(c.Codes) == 0 {
		return 0
	}
	return c.Codes[0]
}

// Names of conditions.
const (
	CameraNone        = "camera-none"
	CameraNoMatch     = "camera-no-match"
	CameraAmbiguous   = "camera-ambiguous"
	CameraDenied      = "camera-denied"
	CameraBusy        = "camera-busy"
	CameraStartFailed = "camera-start-failed"
	CameraParameters  = "camera-parameters"
	CameraGone        = "camera-gone"
	CameraStuck       = "camera-stuck"
	CameraSlow        = "camera-slow"
	CameraDamaged     = "camera-damaged"
	CameraSmall       = "camera-small"
	MutePicture       = "mute-picture"

	SoundServerGone = "sound-server-gone"
	MicNone         = "mic-none"
	MicNoMatch      = "mic-no-match"
	MicAmbiguous    = "mic-ambiguous"
	MicDenied       = "mic-denied"
	MicBusy         = "mic-busy"
	MicStartFailed  = "mic-start-failed"
	MicParameters   = "mic-parameters"
	MicGone         = "mic-gone"
	MicStuck        = "mic-stuck"
	MicSilent       = "mic-silent"

	GSensorNone   = "gsensor-none"
	GSensorBusy   = "gsensor-busy"
	GSensorDenied = "gsensor-denied"
	GSensorWrong  = "gsensor-wrong"
	GSensorStuck  = "gsensor-stuck"
	GSensorFailed = "gsensor-failed"

	EncoderFallback    = "encoder-fallback"
	EncoderChanged     = "encoder-changed"
	EncoderFailed      = "encoder-failed"
	SoundEncoderFailed = "sound-encoder-failed"

	RoomLost        = "room-lost"
	RoomNoNetwork   = "room-no-network"
	RoomUnreachable = "room-unreachable"
	RoomTimeout     = "room-timeout"
	RoomToken       = "room-token"
	RoomRight       = "room-right"
	RoomMissing     = "room-missing"
	RoomConflict    = "room-conflict"
	RoomRefused     = "room-refused"
	RoomGaveUp      = "room-gave-up"
	RoomThrownOut   = "room-thrown-out"
	RoomLoss        = "room-loss"

	StoreCorrupt  = "store-corrupt"
	StoreOlder    = "store-older"
	StoreMissing  = "store-missing"
	StoreBackup   = "store-backup"
	StoreRoomFile = "store-room-file"
	StoreMemory   = "store-memory"
	StoreFailed   = "store-failed"
	StoreOff      = "store-off"
	DiskFull      = "disk-full"

	ConfigValue = "config-value"
	ConfigWaits = "config-waits"

	LogFile = "log-file"

	PartFailed  = "part-failed"
	MemoryShort = "memory-short"
	ClockWrong  = "clock-wrong"
)

// Conditions gives the table of all conditions there are.
func Conditions() []Condition { return slices.Clone(conditions) }

// conditionOf gives the row of a slug. A slug that is in no row is a fault of ours, and is
// shown rather than lost.
func conditionOf(slug string) Condition {
	for _, c := range conditions {
		if c.Slug == slug {
			return c
		}
	}
	return Condition{Slug: slug, Severity: SeverityError, Part: "anchord", Text: "a condition without a name", Do: "report this to whoever made anchord"}
}

// replug is what helps most often.
const replug = "unplug it and plug it in again; try another cable, another socket, no hub; dmesg shows what the kernel saw"

// noPicture are the reasons for which no picture reaches the encoder, noSound likewise.
var (
	noPicture = []string{CameraNone, CameraNoMatch, CameraAmbiguous, CameraDenied, CameraBusy, CameraStartFailed, CameraParameters, CameraGone, CameraStuck}
	noSound   = []string{SoundServerGone, MicNone, MicNoMatch, MicAmbiguous, MicDenied, MicBusy, MicStartFailed, MicParameters, MicGone, MicStuck}
	noRoom    = []string{RoomLost, RoomNoNetwork, RoomUnreachable, RoomTimeout, RoomToken, RoomRight, RoomMissing, RoomConflict, RoomRefused, RoomThrownOut}
	noServer  = []string{SoundServerGone}
)

var conditions = []Condition{
	// Camera.
	{Slug: CameraNone, Codes: []trtc.Code{trtc.NoCamera}, Severity: SeverityError, Part: "camera", Visible: 3 * time.Second,
		Text: "there is no camera", Do: "plug a camera in; if one is, " + replug + "; a box that needs none: camera stop"},
	{Slug: CameraNoMatch, Codes: []trtc.Code{trtc.NoCamera}, Severity: SeverityError, Part: "camera", Visible: 3 * time.Second,
		Text: "no camera that is plugged in is the one that is wanted", Do: "camera list shows those that are there; camera select any takes the first"},
	{Slug: CameraAmbiguous, Codes: []trtc.Code{trtc.CameraStartFail, trtc.CameraStartFailed}, Severity: SeverityError, Part: "camera", Visible: time.Second,
		Text: "several cameras fit what is wanted", Do: "name one by its id or port: camera list, then camera select ID"},
	{Slug: CameraDenied, Codes: []trtc.Code{trtc.CameraNotAuthorized, trtc.CameraNoPermission}, Severity: SeverityError, Part: "camera", Visible: 2 * time.Second,
		Text: "the daemon may not open the camera", Do: "put the daemon's user into the group video (usermod -aG video USER) and start the daemon anew; in a container pass the device in"},
	{Slug: CameraBusy, Codes: []trtc.Code{trtc.CameraOccupied, trtc.CameraInUse}, Severity: SeverityError, Part: "camera", Visible: 2 * time.Second,
		Text: "another program has the camera", Do: "close the other program: fuser -v /dev/video* shows which it is"},
	{Slug: CameraStartFailed, Codes: []trtc.Code{trtc.CameraStartFail, trtc.CameraStartFailed}, Severity: SeverityError, Part: "camera", Visible: 2 * time.Second,
		Text: "the camera does not start", Do: replug},
	{Slug: CameraParameters, Codes: []trtc.Code{trtc.CameraSetParamFail}, Severity: SeverityError, Part: "camera", Visible: time.Second,
		Text: "the camera cannot do what is wanted of it", Do: "want another size, rate or format (video resolution, video fps, config set camera.format auto), or use another camera; anchorctl probe shows what it offers"},
	{Slug: CameraGone, Codes: []trtc.Code{trtc.CameraDisconnected}, Severity: SeverityError, Part: "camera",
		Text: "the camera went away", Do: "plug it in again: it is used at once; if nobody unplugged it, " + replug},
	{Slug: CameraStuck, Codes: []trtc.Code{trtc.CameraDeviceError, trtc.LowCaptureFPS}, Severity: SeverityError, Part: "camera",
		Text: "the camera is there and gives no pictures", Do: "it is opened again and again; if that does not help, " + replug},
	{Slug: CameraSlow, Codes: []trtc.Code{trtc.LowCaptureFPS}, Severity: SeverityWarning, Part: "camera", Visible: 5 * time.Second, Under: noPicture,
		Text: "the camera gives fewer pictures than it promised", Do: "give it more light (cameras expose longer in the dark), take other devices off its USB bus, or want fewer: video fps"},
	{Slug: CameraDamaged, Codes: []trtc.Code{trtc.CameraDeviceError}, Severity: SeverityWarning, Part: "camera", Visible: 5 * time.Second, Under: noPicture,
		Text: "many of the camera's pictures are damaged", Do: "try a better or shorter cable, another socket, no hub; or another format: config set camera.format yuyv"},
	{Slug: CameraSmall, Codes: []trtc.Code{trtc.CaptureSizeReduced}, Severity: SeverityInfo, Part: "camera", Visible: 2 * time.Second, Under: noPicture,
		Text: "the camera cannot give pictures as large, or as many, as wanted", Do: "want what it has (anchorctl probe; video resolution, video fps), or use another camera"},
	{Slug: MutePicture, Severity: SeverityWarning, Part: "still",
		Text: "the mute picture cannot be shown, so nothing is sent while the camera is muted", Do: "name a JPEG or PNG file that the daemon may read: config set camera.mute_image FILE"},

	// Microphone.
	{Slug: SoundServerGone, Codes: []trtc.Code{trtc.MicStartFail}, Severity: SeverityError, Part: "mic", Visible: 3 * time.Second,
		Text: "there is no sound server", Do: "start PulseAudio or PipeWire for the daemon's user, or say where it listens: config set mic.server"},
	{Slug: MicNone, Codes: []trtc.Code{trtc.NoMicrophone}, Severity: SeverityError, Part: "mic", Visible: 3 * time.Second, Under: noServer,
		Text: "there is no microphone", Do: "plug a microphone in; if one is, see whether arecord -l and pactl list short sources show it; a box that needs none: mic stop"},
	{Slug: MicNoMatch, Codes: []trtc.Code{trtc.NoMicrophone}, Severity: SeverityError, Part: "mic", Visible: 3 * time.Second, Under: noServer,
		Text: "no microphone that is plugged in is the one that is wanted", Do: "mic list shows those that are there; mic select any takes the first"},
	{Slug: MicAmbiguous, Codes: []trtc.Code{trtc.MicStartFail}, Severity: SeverityError, Part: "mic", Visible: time.Second, Under: noServer,
		Text: "several microphones fit what is wanted", Do: "name one by its id: mic list, then mic select ID"},
	{Slug: MicDenied, Codes: []trtc.Code{trtc.MicNotAuthorized, trtc.MicNoPermission}, Severity: SeverityError, Part: "mic", Visible: 2 * time.Second, Under: noServer,
		Text: "the daemon may not use the sound server", Do: "put the daemon's user into the sound server's group (often pulse-access or audio), or give it the server's cookie"},
	{Slug: MicBusy, Codes: []trtc.Code{trtc.MicOccupied, trtc.MicInUse}, Severity: SeverityError, Part: "mic", Visible: 2 * time.Second, Under: noServer,
		Text: "another program has the microphone", Do: "close the other program: fuser -v /dev/snd/* shows which it is"},
	{Slug: MicStartFailed, Codes: []trtc.Code{trtc.MicStartFail, trtc.MicAbnormal}, Severity: SeverityError, Part: "mic", Visible: 2 * time.Second, Under: noServer,
		Text: "the microphone does not start", Do: replug},
	{Slug: MicParameters, Codes: []trtc.Code{trtc.MicSetParamFail}, Severity: SeverityError, Part: "mic", Visible: time.Second, Under: noServer,
		Text: "the microphone cannot do what is wanted of it", Do: "use another microphone: mic list, then mic select ID"},
	{Slug: MicGone, Codes: []trtc.Code{trtc.NoMicrophone}, Severity: SeverityError, Part: "mic", Under: noServer,
		Text: "the microphone went away", Do: "plug it in again: it is used at once; if nobody unplugged it, " + replug},
	{Slug: MicStuck, Codes: []trtc.Code{trtc.MicAbnormal}, Severity: SeverityError, Part: "mic", Under: noServer,
		Text: "the microphone is there and gives no sound", Do: "it is opened again and again; if that does not help, restart the sound server, then " + replug},
	{Slug: MicSilent, Severity: SeverityWarning, Part: "mic", Under: noSound,
		Text: "the microphone gives nothing but zeros", Do: "look for a mute switch on it, and in the mixer (alsamixer, pactl list sources); then " + replug},

	// G-sensor. The picture keeps the turn that it had.
	{Slug: GSensorNone, Severity: SeverityWarning, Part: "gsensor",
		Text: "the G-sensor is not there, so the picture does not follow the box", Do: "gsensor show lists those that the kernel has; check gsensor.device and gsensor.address; a box that needs none: gsensor mode disable"},
	{Slug: GSensorBusy, Severity: SeverityWarning, Part: "gsensor",
		Text: "somebody else has the G-sensor, so the picture does not follow the box", Do: "if the kernel has a driver for it, want that one: config set gsensor.device auto; else end the other program, often iio-sensor-proxy"},
	{Slug: GSensorDenied, Severity: SeverityWarning, Part: "gsensor",
		Text: "the daemon may not use the G-sensor, so the picture does not follow the box", Do: "put the daemon's user into the group i2c (usermod -aG i2c USER) and start the daemon anew"},
	{Slug: GSensorWrong, Severity: SeverityWarning, Part: "gsensor",
		Text: "what is named as the G-sensor is not it, so the picture does not follow the box", Do: "check gsensor.device and gsensor.address against the board's papers; nothing else on that bus was touched"},
	{Slug: GSensorStuck, Severity: SeverityWarning, Part: "gsensor",
		Text: "the G-sensor gives nothing new, so the picture does not follow the box", Do: "it is opened again and again; if that does not help, switch the box off and on; then it is broken: gsensor mode disable, and video rotation by hand"},
	{Slug: GSensorFailed, Severity: SeverityWarning, Part: "gsensor",
		Text: "the G-sensor does not answer as it should, so the picture does not follow the box", Do: "it is opened again and again; if it stays, check its lines and its supply, or gsensor mode disable, and video rotation by hand"},

	// Encoders.
	{Slug: EncoderFallback, Codes: []trtc.Code{trtc.HWEncoderFail}, Severity: SeverityWarning, Part: "encoder", Visible: time.Second, Under: noPicture,
		Text: "the first encoder in the order does not work, another one is used", Do: "the log says why it failed; encoder.order says which are tried"},
	{Slug: EncoderChanged, Codes: []trtc.Code{trtc.EncodeTypeChanged}, Severity: SeverityInfo, Part: "encoder",
		Text: "another encoder is used from now on", Do: "nothing; if it happens often, the log says why the one before failed"},
	{Slug: EncoderFailed, Codes: []trtc.Code{trtc.VideoEncodeFail}, Severity: SeverityError, Part: "encoder", Visible: time.Second, Under: noPicture,
		Text: "no encoder works, so no picture is sent", Do: "it is tried again and again; want a smaller picture (video resolution), or add openh264 to encoder.order"},
	{Slug: SoundEncoderFailed, Codes: []trtc.Code{trtc.AudioEncodeFail}, Severity: SeverityError, Part: "opus", Visible: time.Second, Under: noSound,
		Text: "the sound encoder does not work, so no sound is sent", Do: "it is tried again and again; if it stays, report this to whoever made anchord"},

	// Room.
	{Slug: RoomLost, Codes: []trtc.Code{trtc.RoomDisconnect}, Severity: SeverityError, Part: "room", Visible: 5 * time.Second,
		Text: "the room was lost", Do: "the box comes back by itself; check the network between it and the room's server"},
	{Slug: RoomNoNetwork, Codes: []trtc.Code{trtc.ServerUnreachable}, Severity: SeverityError, Part: "room", Visible: 5 * time.Second,
		Text: "this box has no way to the network", Do: "check the cable or the Wi-Fi, the box's address (ip address) and its way out (ip route)"},
	{Slug: RoomUnreachable, Codes: []trtc.Code{trtc.ServerUnreachable}, Severity: SeverityError, Part: "room", Visible: 5 * time.Second,
		Text: "the room's server cannot be reached", Do: "check room.url, that the server runs, and that the firewall lets its port and UDP out"},
	{Slug: RoomTimeout, Codes: []trtc.Code{trtc.EnterRoomTimeout}, Severity: SeverityError, Part: "room", Visible: 5 * time.Second,
		Text: "the room does not answer in time", Do: "check room.url and that the server runs; a firewall that drops packets looks the same"},
	{Slug: RoomToken, Codes: []trtc.Code{trtc.UserSigCheckFailed}, Severity: SeverityError, Part: "room", Visible: time.Second,
		Text: "the room does not take the token", Do: "put a new token into the file that room.token_file names, then room enter; check the box's clock (date): tokens are good for a time"},
	{Slug: RoomRight, Codes: []trtc.Code{trtc.NoRightToEnter}, Severity: SeverityError, Part: "room", Visible: time.Second,
		Text: "this user may not enter the room", Do: "ask whoever runs the room for the right, or for a token that has it"},
	{Slug: RoomMissing, Codes: []trtc.Code{trtc.RoomNotExist}, Severity: SeverityError, Part: "room", Visible: time.Second,
		Text: "there is no such room", Do: "check room.url and room.id"},
	{Slug: RoomConflict, Codes: []trtc.Code{trtc.EnterRoomRefused}, Severity: SeverityError, Part: "room", Visible: 5 * time.Second,
		Text: "somebody with this user's name is in the room", Do: "give each box a user of its own: room enter user=NAME"},
	{Slug: RoomRefused, Codes: []trtc.Code{trtc.EnterRoomFailed}, Severity: SeverityError, Part: "room", Visible: 5 * time.Second,
		Text: "the room could not be entered", Do: "the cause says why; the box goes on trying"},
	{Slug: RoomGaveUp, Codes: []trtc.Code{trtc.EnterRoomFailed}, Severity: SeverityError, Part: "room",
		Text: "the room could not be entered for 30 minutes", Do: "the box goes on trying; health says why it does not succeed"},
	{Slug: RoomThrownOut, Severity: SeverityError, Part: "room",
		Text: "the room wants this user no more", Do: "ask whoever runs the room; then room enter comes back"},
	{Slug: RoomLoss, Codes: []trtc.Code{trtc.NetBusy}, Severity: SeverityWarning, Part: "room", Visible: 10 * time.Second, Under: noRoom,
		Text: "many packets are lost on their way to the room", Do: "use a cable, not Wi-Fi; see what else loads the line; or send less: video bitrate, video resolution"},

	// Store and configuration.
	{Slug: StoreCorrupt, Severity: SeverityWarning, Part: "store", Stays: true,
		Text: "the store was damaged and was put aside", Do: "look at what is set (config export), then errors clear; if it happens again the storage is failing: replace it"},
	{Slug: StoreOlder, Severity: SeverityWarning, Part: "store", Stays: true,
		Text: "the store was older than its copies", Do: "look at what is set (config export), then errors clear; the storage forgets what it said was written: replace it"},
	{Slug: StoreMissing, Severity: SeverityWarning, Part: "store", Stays: true,
		Text: "the store was gone and its copies were used", Do: "look at what is set (config export), then errors clear"},
	{Slug: StoreBackup, Severity: SeverityWarning, Part: "store", Stays: true,
		Text: "the store's copy was not good", Do: "nothing: the next change makes a new one; then errors clear"},
	{Slug: StoreRoomFile, Severity: SeverityWarning, Part: "store", Stays: true,
		Text: "the file that keeps the room was not good, or cannot be written", Do: "check the disk's space and rights, then errors clear"},
	{Slug: StoreMemory, Severity: SeverityError, Part: "store",
		Text: "nothing can be stored, so nothing can be set", Do: "put the cause right: the next change tries to store anew"},
	{Slug: StoreFailed, Severity: SeverityError, Part: "store", Under: []string{StoreMemory},
		Text: "a change could not be stored and was refused", Do: "put the cause right and say it again"},
	{Slug: StoreOff, Severity: SeverityInfo, Part: "store",
		Text: "what commands set is forgotten at the next start", Do: "set [store] path in the configuration file"},
	{Slug: DiskFull, Severity: SeverityError, Part: "store", Visible: 5 * time.Second,
		Text: "the disk is full", Do: "free some space: du -xh / | sort -h | tail shows what takes it"},
	{Slug: ConfigValue, Severity: SeverityWarning, Part: "config", Stays: true,
		Text: "a stored value does not fit and was left out", Do: "set it again (config set), or forget it (config reset); then errors clear"},
	{Slug: ConfigWaits, Severity: SeverityInfo, Part: "config", Visible: 10 * time.Second,
		Text: "a value that was set is in force from the next start on", Do: "start the daemon anew when it suits: systemctl restart anchord"},

	{Slug: LogFile, Severity: SeverityWarning, Part: "log", Visible: 5 * time.Second,
		Text: "the log's file cannot be written", Do: "put the cause right, or name another file (log.file); what is logged meanwhile is on stderr and in log tail"},

	// The box.
	{Slug: PartFailed, Severity: SeverityWarning, Part: "anchord", Visible: 5 * time.Second,
		Text: "a part of the daemon does not run", Do: "it is started again and again; the log says more"},
	{Slug: MemoryShort, Codes: []trtc.Code{trtc.OutOfMemory}, Severity: SeverityWarning, Part: "box", Visible: 10 * time.Second,
		Text: "memory is short", Do: "end what else runs on the box (ps aux --sort=-rss), or want a smaller picture: video resolution"},
	{Slug: ClockWrong, Severity: SeverityWarning, Part: "box", Visible: 30 * time.Second,
		Text: "the clock is wrong", Do: "set it: timedatectl set-ntp true, or date -s; certificates and tokens do not verify while it is wrong"},
}
