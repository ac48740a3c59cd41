package main

import (
	"anchord/capture"
	"anchord/device"
	"anchord/device/config"
	"anchord/encoder"
	"anchord/internal/media"
	"anchord/rtc"
)

// wanted gives what the file wants.
func wanted(c config.Config) device.Wanted {
	target, least := c.Video.Bits()
	bitrate, channels, music := c.Mic.Sound()
	return device.Wanted{
		Room:   device.RoomWanted{In: c.Room.AutoEnter, ID: c.Room.ID, User: c.Room.User},
		Camera: device.CameraWanted{Match: c.Camera.Match},
		Mic:    device.MicWanted{Match: c.Mic.Match, Volume: c.Mic.Volume, Bitrate: bitrate, Channels: channels, Music: music},
		Video: device.VideoWanted{Size: c.Video.Size(), FPS: c.Video.FPS, Bitrate: target, MinBitrate: least,
			Rotation: media.Rotation(c.Video.Rotation), Mirror: c.Video.Mirror},
	}
}

func cameraSettings(w device.Wanted, c config.Config) capture.CameraSettings {
	return capture.CameraSettings{Match: w.Camera.Match, Off: w.Camera.Off, Muted: w.Camera.Muted,
		Want: capture.Want{Size: w.Video.Size, Rate: media.FPS(w.Video.FPS), Format: c.Camera.Pixel()},
		Turn: media.Turn{Rotation: w.Video.Rotation, Mirror: w.Video.Mirror}}
}

func micSettings(w device.Wanted) capture.MicrophoneSettings {
	return capture.MicrophoneSettings{Match: w.Mic.Match, Channels: w.Mic.Channels, Off: w.Mic.Off}
}

func videoSettings(w device.Wanted) encoder.VideoSettings {
	return encoder.VideoSettings{Bitrate: w.Video.Bitrate, MinBitrate: w.Video.MinBitrate, Rate: media.FPS(w.Video.FPS)}
}

func audioSettings(w device.Wanted) encoder.AudioSettings {
	return encoder.AudioSettings{Bitrate: w.Mic.Bitrate, Volume: w.Mic.Volume, Muted: w.Mic.Muted, Music: w.Mic.Music}
}

func iceServers(urls []string) []rtc.ICEServer {
	var out []rtc.ICEServer
	for _, u := range urls {
		out = append(out, rtc.ICEServer{URLs: []string{u}})
	}
	return out
}
