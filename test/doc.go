// Package test holds the tests of the whole: who may import whom, and, in its folders,
// the daemon with real parts.
package test
