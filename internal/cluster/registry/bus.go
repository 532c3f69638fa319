package registry

import "context"

// Bus carries messages between the nodes of a cluster. It may lose them, have them
// come twice or in another order, and say nothing of it; what it carries is not
// proof of who sent it. All methods may be called at once.
type Bus interface {
	// Publish sends data to all others who subscribe to subject. It waits for none of
	// them.
	Publish(subject string, data []byte) error
	// Subscribe has f called for each message to subject, or to those that begin
	// with it if it ends in ".>". f may block for a while, which keeps back others.
	Subscribe(subject string, f func(Message)) error
	// Request publishes data and returns the first answer to it, or ctx's error, or
	// another at once where nobody subscribes.
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)
}

// Message is what came for a subscription.
type Message struct {
	Subject string
	Data    []byte
	Answer  func([]byte) // of a Request, else nil
}
