package trtc

import "strings"

// Names of events (TRTCCloudCallback). Their arguments are said where they are made.
const (
	OnError                    = "onError"                    // errCode, errMsg
	OnWarning                  = "onWarning"                  // warningCode, warningMsg
	OnEnterRoom                = "onEnterRoom"                // result: > 0 milliseconds, < 0 code
	OnExitRoom                 = "onExitRoom"                 // reason: ExitReason
	OnSwitchRole               = "onSwitchRole"               // errCode, errMsg
	OnSwitchRoom               = "onSwitchRoom"               // errCode, errMsg
	OnRemoteUserEnterRoom      = "onRemoteUserEnterRoom"      // userId
	OnRemoteUserLeaveRoom      = "onRemoteUserLeaveRoom"      // userId, reason: LeaveReason
	OnUserVideoAvailable       = "onUserVideoAvailable"       // userId, available
	OnUserAudioAvailable       = "onUserAudioAvailable"       // userId, available
	OnSendFirstLocalVideoFrame = "onSendFirstLocalVideoFrame" // streamType
	OnSendFirstLocalAudioFrame = "onSendFirstLocalAudioFrame"
	OnNetworkQuality           = "onNetworkQuality" // localQuality
	OnStatistics               = "onStatistics"     // every 2 s
	OnConnectionLost           = "onConnectionLost"
	OnTryToReconnect           = "onTryToReconnect"
	OnConnectionRecovery       = "onConnectionRecovery"
	OnCameraDidReady           = "onCameraDidReady"
	OnMicDidReady              = "onMicDidReady"
	OnDeviceChange             = "onDeviceChange" // deviceId, type, state
	OnUserVoiceVolume          = "onUserVoiceVolume"
	OnSnapshotComplete         = "onSnapshotComplete"
	OnLocalRecordBegin         = "onLocalRecordBegin"
	OnLocalRecordComplete      = "onLocalRecordComplete"
	OnRecvCustomCmdMsg         = "onRecvCustomCmdMsg"
)

// ExitReason is the argument of onExitRoom.
type ExitReason int

// Why a room was left.
const (
	ExitByCall      ExitReason = 0 // somebody on our side asked for it
	ExitByKick      ExitReason = 1 // the room threw this user out
	ExitByDissolved ExitReason = 2 // the room is no more
)

// LeaveReason is the argument of onRemoteUserLeaveRoom.
type LeaveReason int

// Why another user left.
const (
	LeftByCall     LeaveReason = 0
	LeftByTimeout  LeaveReason = 1
	LeftByKick     LeaveReason = 2
	LeftToAudience LeaveReason = 3 // the anchor became audience
)

// Role is TRTCRoleType.
type Role int

// The roles.
const (
	Anchor   Role = 20 // sends and receives
	Audience Role = 21 // receives only
)

// String gives "anchor" or "audience".
func (r Role) String() string {
	switch r {
	case Anchor:
		return "anchor"
	case Audience:
		return "audience"
	}
	return "unknown"
}

// ParseRole understands "anchor" and "audience", in any case.
func ParseRole(s string) (Role, bool) {
	for _, r := range []Role{Anchor, Audience} {
		if strings.EqualFold(s, r.String()) {
			return r, true
		}
	}
	return 0, false
}

// Scene is TRTCAppScene.
type Scene int

// The scenes.
const (
	VideoCall     Scene = 0
	LIVE          Scene = 1
	AudioCall     Scene = 2
	VoiceChatRoom Scene = 3
)

// String gives TRTC's word.
func (s Scene) String() string {
	switch s {
	case VideoCall:
		return "VideoCall"
	case LIVE:
		return "LIVE"
	case AudioCall:
		return "AudioCall"
	case VoiceChatRoom:
		return "VoiceChatRoom"
	}
	return "unknown"
}

// ParseScene understands TRTC's words, in any case.
func ParseScene(s string) (Scene, bool) {
	for c := VideoCall; c <= VoiceChatRoom; c++ {
		if strings.EqualFold(s, c.String()) {
			return c, true
		}
	}
	return 0, false
}

// Roles tells whether the scene knows roles; in the others everybody sends.
func (s Scene) Roles() bool { return s == LIVE || s == VoiceChatRoom }

// Stream is TRTCVideoStreamType.
type Stream int

// The streams.
const (
	Big   Stream = 0
	Small Stream = 1
	Sub   Stream = 2
)

// Quality is TRTCQuality, the argument of onNetworkQuality.
type Quality int

// The qualities, from good to bad.
const (
	QualityUnknown Quality = iota
	QualityExcellent
	QualityGood
	QualityPoor
	QualityBad
	QualityVeryBad
	QualityDown
)

// Times that TRTC's listeners are told of a lost room at, in seconds since the last
// word of the server (https://trtc.io/document, "What happens if the network is
// disconnected").
const (
	LostAfter      = 8       // onConnectionLost
	FirstTryAfter  = 8 + 3   // the first onTryToReconnect
	TryEvery       = 24      // the next ones
	GiveUpAfter    = 30 * 60 // EnterRoomFailed
	StatisticEvery = 2       // onStatistics, onNetworkQuality
)
