package dashboard

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Argon2id's cost: RFC 9106's second recommended choice, with less memory (OWASP's), so that a few sign-ins at once do not
// press the mail.
const (
	argonTime    = 2
	argonMemory  = 19 * 1024 // KiB
	argonThreads = 1
)

// Bounds on what a hash in the configuration may ask for.
const (
	maxArgonMemory = 256 * 1024
	maxArgonTime   = 16
)

// Hash makes an argon2id hash in PHC text form.
func Hash(password string) (string, error) {
	if len(password) < 8 {
		return "", errors.New("a password has at least 8 characters")
	}
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	sum := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, 32)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
}

type argonHash struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

func parseArgon(text string) (h argonHash, err error) {
	f := strings.Split(text, "$")
	if len(f) != 6 || f[1] != "argon2id" || f[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errors.New("not an argon2id hash in PHC form")
	}
	if n, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil || n != 3 {
		return h, errors.New("argon2id: unreadable parameters")
	}
	if h.memory < 8 || h.memory > maxArgonMemory || h.time < 1 || h.time > maxArgonTime || h.threads < 1 {
		return h, fmt.Errorf("argon2id: parameters out of range: at most m=%d,t=%d", maxArgonMemory, maxArgonTime)
	}
	if h.salt, err = base64.RawStdEncoding.DecodeString(f[4]); err != nil || len(h.salt) < 8 {
		return h, errors.New("argon2id: unreadable salt")
	}
	if h.sum, err = base64.RawStdEncoding.DecodeString(f[5]); err != nil || len(h.sum) < 16 {
		return h, errors.New("argon2id: unreadable sum")
	}
	return h, nil
}

// CheckHash tells whether text is a hash that Verify can use.
func CheckHash(text string) error {
	if strings.HasPrefix(text, "$argon2id$") {
		_, err := parseArgon(text)
		return err
	}
	if _, err := bcrypt.Cost([]byte(text)); err != nil {
		return fmt.Errorf("neither argon2id nor bcrypt: %w", err)
	}
	return nil
}

// Verify tells whether password has the hash.
func Verify(hash, password string) bool {
	if !strings.HasPrefix(hash, "$argon2id$") {
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}
	h, err := parseArgon(hash)
	if err != nil {
		return false
	}
	sum := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}
