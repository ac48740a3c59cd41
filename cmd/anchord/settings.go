package main

import (
	"anchord/capture"
	"anchord/device/config"
	"anchord/encoder"
	"anchord/internal/media"
	"anchord/rtc"
)

// cameraSettings gives what the configuration wants of the camera, in the part's terms; the
// others below likewise.
func cameraSettings(c config.Config) capture.CameraSettings {
	return capture.CameraSettings{Match: c.Camera.Match, Off: c.Camera.Stopped, Muted: c.Camera.Muted,
		Want: capture.Want{Size: c.Video.Size(), Rate: media.FPS(c.Video.FPS), Format: c.Camera.Pixel()},
		Turn: media.Turn{Rotation: media.Rotation(c.Video.Rotation), Mirror: c.Video.Mirror}}
}

func stillSettings(c config.Config) capture.StillSettings {
	return capture.StillSettings{Image: c.Camera.MuteImage, FPS: c.Camera.MuteFPS, Slate: c.Camera.Slate}
}

func micSettings(c config.Config) capture.MicrophoneSettings {
	_, channels, _ := c.Mic.Sound()
	return capture.MicrophoneSettings{Match: c.Mic.Match, Channels: channels, Off: c.Mic.Stopped, Volume: c.Mic.Device}
}

func videoSettings(c config.Config) encoder.VideoSettings {
	target, least := c.Video.Bits()
	return encoder.VideoSettings{Bitrate: target, MinBitrate: least, Rate: media.FPS(c.Video.FPS)}
}

func audioSettings(c config.Config) encoder.AudioSettings {
	bitrate, _, music := c.Mic.Sound()
	return encoder.AudioSettings{Bitrate: bitrate, Volume: c.Mic.Volume, Muted: c.Mic.Muted, Music: music}
}

func iceServers(urls []string) []rtc.ICEServer {
	var out []rtc.ICEServer
	for _, u := range urls {
		out = append(out, rtc.ICEServer{URLs: []string{u}})
	}
	return out
}
