package proxy

import (
	"context"
	"io/fs"
	"testing"
	"testing/synctest"
)

// A token file whose disk does not answer keeps none of those who guess, and so not P
// from its end.
func TestTokenFileOnStalledDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan struct{})
		looks := 0
		p := new(Proxy)
		p.tokens.init()
		p.tokens.stat = func(string) (fs.FileInfo, error) {
			looks++
			<-answers
			return nil, fs.ErrNotExist
		}
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			returned := make(chan struct{})
			go func() { p.addTokens(ctx); close(returned) }()
			synctest.Wait()
			cancel()
			synctest.Wait()
			select {
			case <-returned:
			default:
				t.Fatal("a guess waits on for the disk")
			}
		}
		if looks != 1 {
			t.Errorf("%d looks at the disk at once, want one", looks)
		}
		close(answers)
		synctest.Wait()
		p.addTokens(t.Context())
		if looks != 2 {
			t.Errorf("%d looks when it answers again, want one more", looks-1)
		}
	})
}
