package main

import (
	"sync"

	"anchord/capture"
	"anchord/device"
	"anchord/device/config"
	"anchord/hal"
	"anchord/internal/media"
)

// aim is what the camera is told: what is wanted of it, turned further by what the G-sensor
// adds. Both can change at any time.
type aim struct {
	mu     sync.Mutex
	wanted capture.CameraSettings
}

func gsensorSettings(c config.Config) device.GSensorSettings {
	g := c.GSensor
	return device.GSensorSettings{Mode: g.Mode, Place: hal.SensorPlace{Device: g.Device, Address: g.Addr()}, Matrix: g.Mount()}
}

// upright gives the turn of a picture in all: by the sensor, which makes it upright, and then
// by hand, mirrored and turned. As a Turn is mirrored first, the sensor's is the other way
// round behind a mirror.
func upright(hand media.Turn, sensor media.Rotation) media.Turn {
	if hand.Mirror {
		sensor = (360 - sensor) % 360
	}
	return media.Turn{Mirror: hand.Mirror, Rotation: hand.Rotation.Plus(sensor)}
}

// want tells the camera what is wanted of it from now on.
func (d *daemon) want(s capture.CameraSettings) {
	d.aim.mu.Lock()
	defer d.aim.mu.Unlock()
	d.aim.wanted = s
	d.point()
}

// turned tells the camera that the G-sensor adds something else now.
func (d *daemon) turned() {
	d.aim.mu.Lock()
	defer d.aim.mu.Unlock()
	d.point()
}

// point tells the camera, if there is something to tell. aim.mu is held.
func (d *daemon) point() {
	s := d.aim.wanted
	s.Turn = upright(s.Turn, d.gsensor.Adds())
	if s == d.camera.Settings() {
		return
	}
	d.camera.Set(s)
	d.cameraPart.Poke()
	d.still.Poke()
}
