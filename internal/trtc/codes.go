// Package trtc holds what anchord shares with TRTC, so that whoever knows the one
// knows the other: error and warning codes, event names, roles, scenes, resolutions,
// and the rules for room and user ids. Tables and look-ups only. The source of the
// numbers is TRTC's public API reference (TXLiteAVCode, TRTCCloudDef, TRTCCloudCallback:
// https://trtc.io/document).
package trtc

import "fmt"

// Code is one of TRTC's numbers: negative for errors, positive for warnings.
type Code int

// Errors that a publisher on Linux can meet. The names in the table below are TRTC's.
const (
	OK                    Code = 0
	Failed                Code = -1
	InvalidParameter      Code = -2
	RefusedCall           Code = -3
	NotSupported          Code = -4
	ServerTimeout         Code = -6
	ServerFailed          Code = -7
	Disconnected          Code = -8
	CameraStartFail       Code = -1301
	MicStartFail          Code = -1302
	VideoEncodeFail       Code = -1303
	AudioEncodeFail       Code = -1304
	ResolutionFail        Code = -1305
	SampleRateFail        Code = -1306
	ScreenStartFail       Code = -1308
	CameraNotAuthorized   Code = -1314
	CameraSetParamFail    Code = -1315
	CameraOccupied        Code = -1316
	MicNotAuthorized      Code = -1317
	MicSetParamFail       Code = -1318
	MicOccupied           Code = -1319
	MicStopFail           Code = -1320
	SpeakerStartFail      Code = -1321
	SpeakerSetParamFail   Code = -1322
	SpeakerStopFail       Code = -1323
	EnterRoomFailed       Code = -3301
	TokenTimeout          Code = -3306
	ServerUnreachable     Code = -3307
	EnterRoomTimeout      Code = -3308
	RoomParamNull         Code = -3316
	InvalidAppID          Code = -3317
	InvalidRoomID         Code = -3318
	InvalidUserID         Code = -3319
	InvalidUserSig        Code = -3320
	ExitRoomTimeout       Code = -3325
	EnterRoomRefused      Code = -3340
	SigExpired            Code = -70001
	SigDamaged            Code = -70003
	SigInvalid            Code = -70009
	SigOtherUser          Code = -70013
	SigOtherApp           Code = -70014
	AppIDNotFound         Code = -70020
	InvalidPrivateMapKey  Code = -100006
	BadSceneOrRole        Code = -100011
	ServiceSuspended      Code = -100013
	RoomIDCharacters      Code = -100014
	UserSigCheckFailed    Code = -100018
	RoomNotExist          Code = -102005
	NoRightToCreate       Code = -102010
	NoRightToEnter        Code = -102011
	NoRightToSendVideo    Code = -102013
	NoRightToSendSub      Code = -102015
	UserWasDeleted        Code = -102018
	NoRightToReceiveVideo Code = -102019
	RoomIDTooLong         Code = -102030
	RoomFull              Code = -102052
)

// Warnings that a publisher on Linux can meet.
const (
	NetBusy            Code = 1101
	HWEncoderFail      Code = 1103
	EncodeTypeChanged  Code = 1104
	EncoderSWToHW      Code = 1107
	LowCaptureFPS      Code = 1108
	SWEncoderFail      Code = 1109
	CaptureSizeReduced Code = 1110
	NoCamera           Code = 1111
	CameraNoPermission Code = 1112
	OutOfMemory        Code = 1113
	CameraInUse        Code = 1114
	CameraDeviceError  Code = 1115
	CameraDisconnected Code = 1116
	CameraStartFailed  Code = 1117
	NoMicrophone       Code = 1201
	NoSpeaker          Code = 1202
	MicNoPermission    Code = 1203
	MicAbnormal        Code = 1204
	SpeakerAbnormal    Code = 1205
	MicInUse           Code = 1208
	RoomDisconnect     Code = 5101
	RoomReconnect      Code = 5102
	RoomNetBusy        Code = 5103
	IgnoreUpstream     Code = 6001
	AVOutOfSync        Code = 6006
	RecordingWriteFail Code = 7001
	MicrophoneHowling  Code = 7002
)

// Meaning is one line of the table of codes.
type Meaning struct {
	Code Code
	Name string // TRTC's name
	Text string // what it says, in a technician's words
}

var codes = []Meaning{
	{OK, "ERR_NULL", "no error"},
	{Failed, "ERR_FAILED", "an error without a class of its own"},
	{InvalidParameter, "ERR_INVALID_PARAMETER", "an argument is wrong"},
	{RefusedCall, "ERR_REFUSED", "the call was refused"},
	{NotSupported, "ERR_NOT_SUPPORTED", "not available here"},
	{ServerTimeout, "ERR_REQUEST_SERVER_TIMEOUT", "the server did not answer in time"},
	{ServerFailed, "ERR_SERVER_PROCESS_FAILED", "the server could not do it"},
	{Disconnected, "ERR_DISCONNECTED", "the connection is gone"},
	{CameraStartFail, "ERR_CAMERA_START_FAIL", "the camera does not open"},
	{MicStartFail, "ERR_MIC_START_FAIL", "the microphone does not open"},
	{VideoEncodeFail, "ERR_VIDEO_ENCODE_FAIL", "a picture could not be encoded"},
	{AudioEncodeFail, "ERR_AUDIO_ENCODE_FAIL", "sound could not be encoded"},
	{ResolutionFail, "ERR_UNSUPPORTED_RESOLUTION", "this resolution is not supported"},
	{SampleRateFail, "ERR_UNSUPPORTED_SAMPLERATE", "this sample rate is not supported"},
	{ScreenStartFail, "ERR_SCREEN_CAPTURE_START_FAIL", "the screen cannot be captured"},
	{CameraNotAuthorized, "ERR_CAMERA_NOT_AUTHORIZED", "no permission to open the camera"},
	{CameraSetParamFail, "ERR_CAMERA_SET_PARAM_FAIL", "the camera refused its settings"},
	{CameraOccupied, "ERR_CAMERA_OCCUPY", "another program uses the camera"},
	{MicNotAuthorized, "ERR_MIC_NOT_AUTHORIZED", "no permission to open the microphone"},
	{MicSetParamFail, "ERR_MIC_SET_PARAM_FAIL", "the microphone refused its settings"},
	{MicOccupied, "ERR_MIC_OCCUPY", "another program uses the microphone"},
	{MicStopFail, "ERR_MIC_STOP_FAIL", "the microphone does not stop"},
	{SpeakerStartFail, "ERR_SPEAKER_START_FAIL", "the speaker does not open"},
	{SpeakerSetParamFail, "ERR_SPEAKER_SET_PARAM_FAIL", "the speaker refused its settings"},
	{SpeakerStopFail, "ERR_SPEAKER_STOP_FAIL", "the speaker does not stop"},
	{EnterRoomFailed, "ERR_TRTC_ENTER_ROOM_FAILED", "the room could not be entered"},
	{TokenTimeout, "ERR_ROOM_REQUEST_TOKEN_HTTPS_TIMEOUT", "the token endpoint did not answer in time"},
	{ServerUnreachable, "ERR_TRTC_REQUEST_IP_TIMEOUT", "the server cannot be reached; is UDP blocked?"},
	{EnterRoomTimeout, "ERR_TRTC_CONNECT_SERVER_TIMEOUT", "the room did not answer in time"},
	{RoomParamNull, "ERR_TRTC_ROOM_PARAM_NULL", "no room parameters"},
	{InvalidAppID, "ERR_TRTC_INVALID_SDK_APPID", "the application id is wrong"},
	{InvalidRoomID, "ERR_TRTC_INVALID_ROOM_ID", "the room id is wrong"},
	{InvalidUserID, "ERR_TRTC_INVALID_USER_ID", "the user id is wrong"},
	{InvalidUserSig, "ERR_TRTC_INVALID_USER_SIG", "the token is wrong or empty"},
	{ExitRoomTimeout, "ERR_ROOM_REQUEST_QUIT_ROOM_TIMEOUT", "the room did not answer the exit in time"},
	{EnterRoomRefused, "ERR_TRTC_ENTER_ROOM_REFUSED", "this user has entered this room already"},
	{SigExpired, "ERR_SERVER_SSO_SIG_EXPIRED", "the token has expired"},
	{SigDamaged, "ERR_SERVER_SSO_SIG_VERIFICATION_FAILED_1", "the token is damaged or cut off"},
	{SigInvalid, "ERR_SERVER_SSO_SIG_VERIFICATION_FAILED_7", "the token was signed with another key"},
	{SigOtherUser, "ERR_SERVER_SSO_SIG_VERIFICATION_ID_NOT_MATCH", "the token is another user's"},
	{SigOtherApp, "ERR_SERVER_SSO_APPID_NOT_MATCH", "the token is another application's"},
	{AppIDNotFound, "ERR_SERVER_SSO_APPID_NOT_FOUND", "the application is not known"},
	{InvalidPrivateMapKey, "ERR_TRTC_INVALID_PRIVATE_MAPKEY", "the room ticket is not valid"},
	{BadSceneOrRole, "ERR_SERVER_INFO_BAD_SCENE_OR_ROLE", "scene or role is wrong"},
	{ServiceSuspended, "ERR_TRTC_SERVICE_SUSPENDED", "the service is suspended (arrears)"},
	{RoomIDCharacters, "ERR_SERVER_INFO_STRGROUP_HAS_INVALID_CHARS", "the room id has forbidden characters"},
	{UserSigCheckFailed, "ERR_TRTC_USER_SIG_CHECK_FAILED", "the token does not verify"},
	{RoomNotExist, "ERR_SERVER_CENTER_ROOM_NOT_EXIST", "there is no such room"},
	{NoRightToCreate, "ERR_SERVER_CENTER_NO_PRIVILEDGE_CREATE_ROOM", "the ticket does not allow to create the room"},
	{NoRightToEnter, "ERR_SERVER_CENTER_NO_PRIVILEDGE_ENTER_ROOM", "the ticket does not allow to enter the room"},
	{NoRightToSendVideo, "ERR_SERVER_CENTER_NO_PRIVILEDGE_PUSH_VIDEO", "the ticket does not allow to send pictures"},
	{NoRightToSendSub, "ERR_SCREEN_SHARE_NOT_AUTHORIZED", "the ticket does not allow to send a second picture"},
	{UserWasDeleted, "ERR_SERVER_CENTER_USER_WAS_DELETED", "the user was deleted"},
	{NoRightToReceiveVideo, "ERR_SERVER_CENTER_NO_PRIVILEDGE_REQUEST_VIDEO", "the ticket does not allow to receive pictures"},
	{RoomIDTooLong, "ERR_SERVER_CENTER_ROOM_ID_TOO_LONG", "the room id is too long"},
	{RoomFull, "ERR_SERVER_CENTER_ROOM_FULL", "the room is full"},

	{NetBusy, "WARNING_NET_BUSY", "the uplink is too small"},
	{HWEncoderFail, "WARNING_HW_ENCODER_START_FAIL", "the hardware encoder does not start, software is used"},
	{EncodeTypeChanged, "WARNING_CURRENT_ENCODE_TYPE_CHANGED", "another encoder is used"},
	{EncoderSWToHW, "WARNING_VIDEO_ENCODER_SW_TO_HW", "the processor is too busy, hardware encodes"},
	{LowCaptureFPS, "WARNING_INSUFFICIENT_CAPTURE_FPS", "the camera gives too few pictures"},
	{SWEncoderFail, "WARNING_SW_ENCODER_START_FAIL", "the software encoder does not start"},
	{CaptureSizeReduced, "WARNING_REDUCE_CAPTURE_RESOLUTION", "the capture size was lowered"},
	{NoCamera, "WARNING_CAMERA_DEVICE_EMPTY", "there is no camera"},
	{CameraNoPermission, "WARNING_CAMERA_NOT_AUTHORIZED", "no permission to open the camera"},
	{OutOfMemory, "WARNING_OUT_OF_MEMORY", "memory is short"},
	{CameraInUse, "WARNING_CAMERA_IS_OCCUPIED", "another program uses the camera"},
	{CameraDeviceError, "WARNING_CAMERA_DEVICE_ERROR", "the camera behaves wrongly"},
	{CameraDisconnected, "WARNING_CAMERA_DISCONNECTED", "the camera was unplugged"},
	{CameraStartFailed, "WARNING_CAMERA_START_FAILED", "the camera does not start"},
	{NoMicrophone, "WARNING_MICROPHONE_DEVICE_EMPTY", "there is no microphone"},
	{NoSpeaker, "WARNING_SPEAKER_DEVICE_EMPTY", "there is no speaker"},
	{MicNoPermission, "WARNING_MICROPHONE_NOT_AUTHORIZED", "no permission to open the microphone"},
	{MicAbnormal, "WARNING_MICROPHONE_DEVICE_ABNORMAL", "the microphone is unusable"},
	{SpeakerAbnormal, "WARNING_SPEAKER_DEVICE_ABNORMAL", "the speaker is unusable"},
	{MicInUse, "WARNING_MICROPHONE_IS_OCCUPIED", "another program uses the microphone"},
	{RoomDisconnect, "WARNING_ROOM_DISCONNECT", "the room was lost"},
	{RoomReconnect, "WARNING_ROOM_RECONNECT", "the room is entered again"},
	{RoomNetBusy, "WARNING_ROOM_NET_BUSY", "the uplink is too small for the room"},
	{IgnoreUpstream, "WARNING_IGNORE_UPSTREAM_FOR_AUDIENCE", "an audience member does not publish"},
	{AVOutOfSync, "WARNING_UPSTREAM_AUDIO_AND_VIDEO_OUT_OF_SYNC", "sound and picture have drifted apart"},
	{RecordingWriteFail, "WARNING_AUDIO_RECORDING_WRITE_FAIL", "the recording cannot be written"},
	{MicrophoneHowling, "WARNING_MICROPHONE_HOWLING_DETECTED", "the microphone hears the speaker"},
}

// Codes gives the whole table, errors first.
func Codes() []Meaning { return append([]Meaning(nil), codes...) }

// Meaning gives the code's line of the table; for an unknown code its Name is empty.
func (c Code) Meaning() Meaning {
	for _, m := range codes {
		if m.Code == c {
			return m
		}
	}
	return Meaning{Code: c}
}

// String gives TRTC's name, or "code -1234" for an unknown one.
func (c Code) String() string {
	if m := c.Meaning(); m.Name != "" {
		return m.Name
	}
	return fmt.Sprintf("code %d", int(c))
}

// Warning tells whether the code is a warning: something is worse than it should be,
// and goes on.
func (c Code) Warning() bool { return c > 0 }
