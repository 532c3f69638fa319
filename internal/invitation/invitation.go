// Package invitation is all that a C needs to know to serve through a P, in one
// word that a person can paste: P's address, what its certificate is verified
// against, a token, and the name that it is for.
//
// Where P's certificate is not of a public CA, the CA's own certificate is in it. A
// digest would be shorter, but P does not send the CA's certificate along, so a C
// could only compare P's own, and would refuse P after each renewal.
package invitation

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// prefix begins every invitation of this form.
const prefix = "spdy1."

const (
	checksumSize = 4        // bytes of a SHA-256, at the end
	maxCode      = 64 << 10 // characters of an invitation
)

// Invitation is what one says. Address and Token are never empty.
type Invitation struct {
	Address    string // HOST:PORT of P's control port
	ServerName string // that P's certificate bears; "": the host of Address
	Name       string // of the origin; "": the default one, or what C says
	Token      string

	// CA are certificates in DER, that P's is verified against. None: the roots of
	// the system.
	CA [][]byte
}

// The kinds of fields: a byte, the length as a varint, and the bytes.
const (
	fieldAddress = iota + 1
	fieldServerName
	fieldName
	fieldToken
	fieldCA
)

// Code returns the invitation as it is pasted. It is a secret.
func (in *Invitation) Code() string {
	var b []byte
	add := func(kind byte, value string) {
		if value != "" {
			b = append(b, kind)
			b = binary.AppendUvarint(b, uint64(len(value)))
			b = append(b, value...)
		}
	}
	add(fieldAddress, in.Address)
	add(fieldServerName, in.ServerName)
	add(fieldName, in.Name)
	add(fieldToken, in.Token)
	for _, der := range in.CA {
		add(fieldCA, string(der))
	}
	sum := sha256.Sum256(b)
	return prefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:checksumSize]...))
}

// Parse reads what somebody pasted; white space in it does not matter. Its error is
// one line, without anything of the code.
func Parse(code string) (*Invitation, error) {
	if len(code) > maxCode {
		return nil, errors.New("this is no invitation: it is too long")
	}
	code = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, code)
	rest, ok := strings.CutPrefix(code, prefix)
	if !ok {
		return nil, fmt.Errorf("this is no invitation: one begins with %s, as p invite prints it", prefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(b) < checksumSize {
		return nil, errMistyped
	}
	b, sum := b[:len(b)-checksumSize], b[len(b)-checksumSize:]
	if want := sha256.Sum256(b); !bytes.Equal(sum, want[:checksumSize]) {
		return nil, errMistyped
	}
	in := &Invitation{}
	for len(b) > 0 {
		kind := b[0]
		n, size := binary.Uvarint(b[1:])
		if size <= 0 || n > uint64(len(b)-1-size) {
			return nil, errMistyped
		}
		value := b[1+size:][:n]
		b = b[1+size+int(n):]
		switch kind {
		case fieldAddress:
			in.Address = string(value)
		case fieldServerName:
			in.ServerName = string(value)
		case fieldName:
			in.Name = string(value)
		case fieldToken:
			in.Token = string(value)
		case fieldCA:
			if _, err := x509.ParseCertificate(value); err != nil {
				return nil, fmt.Errorf("the CA's certificate in the invitation cannot be read: %w", err)
			}
			in.CA = append(in.CA, value)
		default:
			return nil, errors.New("the invitation is of a newer version than this program: take a newer one")
		}
	}
	if in.Address == "" || in.Token == "" {
		return nil, errMistyped
	}
	return in, nil
}

var errMistyped = errors.New("the invitation is mistyped or cut short: copy all of it")
