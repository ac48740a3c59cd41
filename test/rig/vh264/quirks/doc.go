// Package quirks proves, in the guest, that each parameter of the virtual H.264 encoder does what the
// rig's README says: by a small V4L2 client of its own, which does what tests need and no more.
package quirks
