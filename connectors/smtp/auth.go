package smtp

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"backbone/gateway/mail"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// AuthMechanisms are offered over TLS, and on this machine where the configuration says so.
func (s *session) AuthMechanisms() []string {
	if s.src.users == nil || s.g.tls == nil && (!s.src.cfg.LoopbackAuth || !s.g.addr().IsLoopback()) {
		return nil
	}
	return []string{sasl.Plain, sasl.Login}
}

// Auth begins an exchange.
func (s *session) Auth(mech string) (sasl.Server, error) {
	if len(s.AuthMechanisms()) == 0 {
		if s.src.users != nil && s.g.tls == nil {
			return nil, &smtp.SMTPError{Code: 538, EnhancedCode: smtp.EnhancedCode{5, 7, 11}, Message: "Encryption required for authentication: STARTTLS first"}
		}
		return nil, smtp.ErrAuthUnsupported
	}
	switch mech {
	case sasl.Plain:
		return sasl.NewPlainServer(func(identity, name, password string) error {
			if identity != "" && identity != name {
				return smtp.ErrAuthFailed
			}
			return s.authenticate(name, password)
		}), nil
	case sasl.Login:
		return &loginServer{check: s.authenticate}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

func (s *session) authenticate(name, password string) error {
	ok, err := s.src.users.check(name, password)
	switch {
	case err != nil:
		s.src.log.Error("AUTH can't be checked", "err", err)
		return toSMTP(&mail.Failure{Class: mail.Local, Code: 454, Enhanced: "4.7.0", Text: "Authentication can't be checked at present"})
	case !ok:
		s.src.log.Warn("AUTH failed", "peer", s.g.RemoteAddr().String(), "user", visible(cut(name, 64)))
		return smtp.ErrAuthFailed
	}
	s.g.user = name
	return nil
}

// users is the file of names and password hashes, read again when it changes.
type users struct {
	path string
	// checking bounds the hashes that are computed at once: each costs a core, and argon2id memory too.
	checking chan struct{}

	mu     sync.Mutex
	stamp  fileStamp
	hashes map[string]passwordHash
}

// passwordHash checks one password.
type passwordHash interface {
	matches(password string) bool
}

func openUsers(path string) (*users, error) {
	u := &users{path: path, checking: make(chan struct{}, 2)}
	return u, u.reload()
}

// reload reads the file when it is another one than before.
func (u *users) reload() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	stamp, err := stampOf(u.path)
	if err != nil {
		return fmt.Errorf("users: %w", err)
	}
	if u.hashes != nil && stamp == u.stamp {
		return nil
	}
	text, err := os.ReadFile(u.path)
	if err != nil {
		return fmt.Errorf("users: %w", err)
	}
	hashes, err := parseUsers(u.path, text)
	if err != nil {
		return err
	}
	u.stamp, u.hashes = stamp, hashes
	return nil
}

// parseUsers reads lines of name:hash. Empty lines and lines that begin with # are skipped.
func parseUsers(path string, text []byte) (map[string]passwordHash, error) {
	out := map[string]passwordHash{}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return nil, fmt.Errorf("users: %s:%d: write name:hash", path, i+1)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("users: %s:%d: %s stands here twice", path, i+1, name)
		}
		h, err := parseHash(hash)
		if err != nil {
			return nil, fmt.Errorf("users: %s:%d: %w", path, i+1, err)
		}
		out[name] = h
	}
	return out, nil
}

// nobody's hash is checked for names that do not exist, so that the time of an answer does not tell them.
const nobody = bcryptHash("$2a$10$KNqHHayjhQSm7TKHQeA52OOqknIPQCop.iSdjRzUBmM2q8cBV2cOC")

// check tells whether the password is name's. An error means that it can't be told.
func (u *users) check(name, password string) (bool, error) {
	if err := u.reload(); err != nil {
		return false, err
	}
	u.mu.Lock()
	h, known := u.hashes[name]
	u.mu.Unlock()
	if !known {
		h = nobody
	}
	u.checking <- struct{}{}
	defer func() { <-u.checking }()
	return h.matches(password) && known, nil
}

func parseHash(s string) (passwordHash, error) {
	switch {
	case strings.HasPrefix(s, "$2"):
		h := bcryptHash(s)
		cost, err := bcrypt.Cost([]byte(h))
		if err != nil {
			return nil, errors.New("the hash is no bcrypt hash; make one with htpasswd -nB NAME")
		}
		if cost > 16 {
			return nil, fmt.Errorf("bcrypt cost %d takes too long: at most 16", cost)
		}
		return h, nil
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon(s)
	}
	return nil, errors.New("the hash is neither bcrypt ($2y$...) nor argon2id ($argon2id$...)")
}

type bcryptHash string

func (h bcryptHash) matches(password string) bool {
	return len(password) <= 72 && bcrypt.CompareHashAndPassword([]byte(h), []byte(password)) == nil
}

type argonHash struct {
	time, memory uint32
	threads      uint8
	salt, key    []byte
}

// parseArgon reads the PHC string $argon2id$v=19$m=65536,t=3,p=4$salt$hash.
func parseArgon(s string) (passwordHash, error) {
	wrong := errors.New("the hash is no argon2id hash ($argon2id$v=19$m=65536,t=3,p=4$salt$hash)")
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[2] != "v=19" {
		return nil, wrong
	}
	var h argonHash
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil || n != 3 {
		return nil, wrong
	}
	if h.time < 1 || h.time > 100 || h.threads < 1 || h.memory < 8 || h.memory > 1<<20 {
		return nil, errors.New("the argon2id hash asks for more work than is allowed: m at most 1048576, t at most 100")
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.key) < 16 || len(h.key) > 128 || len(h.salt) < 8 {
		return nil, wrong
	}
	return h, nil
}

func (h argonHash) matches(password string) bool {
	if len(password) > 1024 || bytes.IndexByte([]byte(password), 0) >= 0 {
		return false
	}
	key := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}
