// Package beginnings tries every beginning of an encoding on the layer that reads it. It is for tests only, and apart from package
// golden because the layers that golden reads use it too.
package beginnings

import (
	"bytes"
	"regexp"
	"testing"
)

// Fail tries every proper beginning of whole. read must give an error for each that names its layer and the octet.
func Fail(t testing.TB, what string, whole []byte, read func([]byte) error) {
	t.Helper()
	for n := range whole {
		err := read(bytes.Clone(whole[:n]))
		if err == nil {
			t.Errorf("%s: %d of %d octets were read", what, n, len(whole))
		} else if !named.MatchString(err.Error()) {
			t.Errorf("%s: %d of %d octets: %q names no layer or octet", what, n, len(whole), err)
		}
	}
}

var named = regexp.MustCompile(`(tpkt|cotp|session|presentation|acse|rtse|p1|p22): .*octet [0-9]+: `)
