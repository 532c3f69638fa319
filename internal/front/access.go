package front

import "github.com/amahi/spdy-proxy/internal/accesslog"

// line is what the access log has of r.
func (r *Record) line() *accesslog.Record {
	return &accesslog.Record{
		Time: r.Time, RequestID: r.RequestID, Peer: r.Peer, Client: r.Client, User: r.User,
		Method: r.Method, Scheme: r.Scheme, Host: r.Host, URI: r.URI, Proto: r.Proto, Referer: r.Referer, UserAgent: r.UserAgent,
		Origin: r.Origin, Session: r.Session, Stream: r.Stream, Priority: r.Priority,
		Status: r.Status, Reason: r.Reason, Detail: r.Detail, Aborted: r.Aborted, Upgraded: r.Upgraded,
		BytesIn: r.BytesIn, BytesOut: r.BytesOut,
		Headers: r.Headers, Duration: r.Duration, Held: r.Held, Replayed: r.Replayed, Resumed: r.Resumed,
	}
}
