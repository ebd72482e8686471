//go:build !linux

package shadowpo

import "errors"

func renameNoReplace(int, string, int, string) error { return errors.ErrUnsupported }
