package smtp

import (
	"encoding/base64"

	"github.com/emersion/go-sasl"
)

// loginServer is the LOGIN mechanism (draft-murchison-sasl-login), which some clients know alone; go-sasl has its
// client's half only.
type loginServer struct {
	check func(name, password string) error
	name  string
	step  int
}

// Next takes the name, which may come with AUTH, then the password.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch l.step++; {
	case l.step == 1 && response == nil:
		return []byte("Username:"), false, nil
	case l.step <= 2:
		l.step, l.name = 2, string(response)
		return []byte("Password:"), false, nil
	case l.step == 3:
		return nil, true, l.check(l.name, string(response))
	}
	return nil, false, sasl.ErrUnexpectedClientResponse
}

// loginClient answers whatever the two challenges say: servers word them as they like, which go-sasl's client refuses.
type loginClient struct {
	name, password string
	step           int
}

// Start sends no initial response: not every server of LOGIN takes one.
func (l *loginClient) Start() (string, []byte, error) { return sasl.Login, nil, nil }

// Next answers the name, then the password.
func (l *loginClient) Next([]byte) ([]byte, error) {
	switch l.step++; l.step {
	case 1:
		return []byte(l.name), nil
	case 2:
		return []byte(l.password), nil
	}
	return nil, sasl.ErrUnexpectedServerChallenge
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func unb64(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(s) }
