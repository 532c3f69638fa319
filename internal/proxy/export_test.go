package proxy

// CloseFront takes the front port's listener away, as no operator can.
func (p *Proxy) CloseFront() { p.frontLn.Close() }
