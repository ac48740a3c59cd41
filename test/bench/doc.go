// Package bench measures the whole path of a frame, and the daemon at work, against
// peers where there are any. `make bench` runs it together with the benchmarks of the
// parts.
package bench
