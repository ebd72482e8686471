package connectors

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time in the configuration: "90s", "15m", "4h", "7d", "1d12h". Connector sections use it
// wherever an operator writes a time.
type Duration time.Duration

// UnmarshalText reads Go's duration syntax and, before it, days: "2d", "1d12h".
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	var days int64
	if head, tail, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseInt(head, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not a time: write it like 90s, 15m, 4h or 7d", s)
		}
		days, s = n, tail
	}
	var rest time.Duration
	if s != "" || days == 0 {
		var err error
		if rest, err = time.ParseDuration(s); err != nil {
			return fmt.Errorf("%q is not a time: write it like 90s, 15m, 4h or 7d", string(b))
		}
	}
	if days < 0 || rest < 0 || days > 36500 {
		return fmt.Errorf("%q is out of range: a time here is zero or more, at most 100 years", string(b))
	}
	*d = Duration(time.Duration(days)*24*time.Hour + rest)
	return nil
}

// MarshalText is the shortest form that UnmarshalText reads back.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Duration) String() string {
	t := time.Duration(d)
	if t == 0 {
		return "0s"
	}
	var b strings.Builder
	if days := t / (24 * time.Hour); days > 0 {
		fmt.Fprintf(&b, "%dd", days)
		t %= 24 * time.Hour
	}
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}} {
		if n := t / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			t %= u.unit
		}
	}
	if t > 0 {
		b.WriteString(t.String())
	}
	return b.String()
}

// D is the time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// Secret is a password in the configuration. It prints as "***" wherever it is printed, logged or marshalled; a value
// that begins with "@" names a file that holds it (its last line end is cut).
type Secret string

// Reveal is the secret itself, read from its file when it names one.
func (s Secret) Reveal() (string, error) {
	name, ok := strings.CutPrefix(string(s), "@")
	if !ok {
		return string(s), nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func (s Secret) String() string {
	if s == "" || strings.HasPrefix(string(s), "@") {
		return string(s)
	}
	return "***"
}
func (s Secret) GoString() string             { return s.String() }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }
