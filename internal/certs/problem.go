package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"syscall"

	"github.com/mholt/acmez/v3/acme"

	"github.com/amahi/spdy-proxy/internal/errno"
	"github.com/amahi/spdy-proxy/internal/oneline"
)

// kind is what is wrong, for what follows from it.
type kind string

const (
	unreachable kind = "unreachable" // nobody was asked, or nobody answered
	stateBroken kind = "state"
	rateLimited kind = "rate"
	waiting     kind = "waiting" // for its credential's turn
	program     kind = "program"
	refused     kind = "refused" // the authority looked at it
	other       kind = "other"
)

// problem is an error in words for the operator.
type problem struct {
	kind  kind
	words string // what failed, and what would mend it; one line
}

// notHere is what mends it where a CA's question reaches nobody, or somebody else.
const notHere = "the name's DNS record must have this machine's address and no other, and port 443, or 80 with --http, must reach it"

// remedies are what would mend what an authority says (RFC 8555, 6.7).
var remedies = map[string]string{
	acme.ProblemTypeDNS:                     "give the name a DNS record A or AAAA with this machine's address",
	acme.ProblemTypeConnection:              notHere,
	acme.ProblemTypeTLS:                     notHere,
	acme.ProblemTypeUnauthorized:            notHere,
	acme.ProblemTypeIncorrectResponse:       notHere,
	acme.ProblemTypeCAA:                     "the name's CAA record must allow this CA",
	acme.ProblemTypeRejectedIdentifier:      "this CA gives none for such a name: take another one with --acme-ca, or another name",
	acme.ProblemTypeUnsupportedIdentifier:   "this CA gives none for such a name: take another one with --acme-ca, or another name",
	acme.ProblemTypeRateLimited:             "the CA has given as many as it does for now",
	acme.ProblemTypeInvalidContact:          "give another --acme-email",
	acme.ProblemTypeUnsupportedContact:      "give another --acme-email",
	acme.ProblemTypeExternalAccountRequired: "this CA wants an account that was made before: take another one with --acme-ca",
	acme.ProblemTypeUserActionRequired:      "the CA wants its terms agreed to anew: see its site",
	acme.ProblemTypeServerInternal:          "the CA has a fault of its own",
}

// problemOf says in words what err is.
func problemOf(err error) problem {
	if w, ok := errors.AsType[*waitError](err); ok {
		return problem{waiting, w.Error()}
	}
	if p, ok := errors.AsType[*programError](err); ok {
		return problem{program, oneline.Clean(p.Error())}
	}
	if p, ok := errors.AsType[acme.Problem](err); ok {
		return caProblem(p)
	}
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return problem{unreachable, "the CA at --acme-ca shows a certificate of an authority that this machine does not know: name its root with --acme-ca-root"}
	case errors.As(err, &invalid), errors.As(err, &host):
		return problem{unreachable, "the CA at --acme-ca shows no good certificate: " + last(err)}
	case errors.Is(err, fs.ErrPermission), errno.Is(err, syscall.ENOSPC), errno.Is(err, syscall.EROFS), errno.Is(err, syscall.EDQUOT):
		return problem{stateBroken, "the folder of --state cannot be written: " + last(err)}
	case errors.Is(err, context.DeadlineExceeded):
		return problem{unreachable, "it has taken too long: the CA, or the program of --acme-dns-exec, does not answer"}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return problem{unreachable, "the CA is not reached: this machine finds no address of " + oneline.Clean(dns.Name)}
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return problem{unreachable, "the CA at " + hostOf(u.URL) + " is not reached: " + last(u.Err)}
	}
	text := oneline.Clean(err.Error())
	// Acmez has neither a type for this nor the CA's reason. TestUndecided holds its words.
	if strings.Contains(text, "authorization took too long") {
		return problem{refused, "the CA does not find the answer to its question in " + answerTime.String() + ": " + notHere +
			"; with --acme-dns-exec, the CA must see the TXT record that the program sets"}
	}
	// Certmagic has no type for this either; an empty file it takes for a stale lock.
	if strings.Contains(text, "decoding lockfile contents") {
		return problem{stateBroken, "a lock in the folder of --state makes no sense: " + shorten(text) + "; remove that file below acme/locks there"}
	}
	if strings.Contains(text, "storage") || strings.Contains(text, "saving assets") {
		return problem{stateBroken, "the folder of --state is not in order: " + shorten(text)}
	}
	return problem{other, shorten(text)}
}

// caProblem is what an authority has answered.
func caProblem(p acme.Problem) problem {
	detail := shorten(oneline.Clean(p.Detail))
	for _, sub := range p.Subproblems {
		if remedies[p.Type] == "" && remedies[sub.Type] != "" {
			p.Type, detail = sub.Type, shorten(oneline.Clean(sub.Detail))
		}
	}
	k := refused
	switch {
	case p.Type == acme.ProblemTypeRateLimited || p.Status == 429:
		k, p.Type = rateLimited, acme.ProblemTypeRateLimited
	case p.Status >= 500 || p.Type == acme.ProblemTypeBadNonce:
		k = unreachable
	}
	if detail == "" {
		detail = shorten(oneline.Clean(strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace)))
	}
	words := "the CA says: " + strings.TrimSuffix(detail, ".")
	if mend := remedies[p.Type]; mend != "" {
		words += "; " + mend
	}
	return problem{k, words}
}

// last is the innermost part of an error.
func last(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return shorten(oneline.Clean(err.Error()))
		}
		err = inner
	}
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "--acme-ca"
	}
	return oneline.Clean(u.Host)
}

// shorten keeps what somebody else has written from being as long as they like.
func shorten(s string) string {
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}
