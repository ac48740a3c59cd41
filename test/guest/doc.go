// Package guest holds the whole-daemon tests in the virtual-hardware rig: the static
// arm64 daemon in a guest whose kernel has USB cameras that are plugged and pulled, and a
// viewer on this machine.
package guest
