package mmff

import "strings"

// Plain83 tells a DOS file name without a path: one to eight characters, and at most three after a dot, none of them
// special to DOS, Unix or a share. Device names (CON, NUL, COM1, ...) are no files under any extension.
func Plain83(name string) bool {
	stem, ext, dot := strings.Cut(name, ".")
	if len(stem) < 1 || len(stem) > 8 || len(ext) > 3 || dot && ext == "" {
		return false
	}
	return allowed83(stem) && allowed83(ext) && !device(strings.ToUpper(stem))
}

func allowed83(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("_-~!#$%&(){}@'^`", c) >= 0 {
			continue
		}
		return false
	}
	return true
}

func device(stem string) bool {
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CLOCK$", "CONFIG$":
		return true
	}
	return len(stem) == 4 && (strings.HasPrefix(stem, "COM") || strings.HasPrefix(stem, "LPT")) && stem[3] >= '0' && stem[3] <= '9'
}
