package origin

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/amahi/spdy"
)

func TestSilentIsDroppedAtRegistration(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		dead, slow := newFake("dead"), newFake("slow")
		b.register("films", "x.0", dead)
		b.register("films", "y.0", slow)
		synctest.Wait()
		dead.set(func() { dead.silent = true })
		slow.set(func() { slow.silent, slow.chatty = true, true })
		b.register("films", "z.0", newFake("new"))
		b.log.reset()
		time.Sleep(2*time.Second - 1)
		b.log.want(t)
		time.Sleep(time.Nanosecond)
		b.log.want(t, "dead: origin dropped, it does not answer (2)", "dead: origin disconnected (2)")
		// It sends frames: the PING's answer stands in line on a slow link.
		time.Sleep(10 * time.Second)
		slow.set(func() { slow.silent = false })
		time.Sleep(time.Minute)
		b.log.want(t)
	})
}

// A registration at another node has those that were here before asked, too.
func TestProbe(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		dead := newFake("dead")
		dead.silent = true
		b.register("films", "x.0", dead)
		b.register("music", "x.1", newFake("other"))
		b.log.reset()
		for _, name := range []Name{"films", "films", "music", "nobody's"} {
			b.Table.Probe(name)
		}
		time.Sleep(2*time.Second - 1)
		b.log.want(t)
		time.Sleep(time.Nanosecond)
		b.log.want(t, "dead: origin dropped, it does not answer (0)", "dead: origin disconnected (0)")
		b.Table.Stop()
		b.Table.Probe("music")
	})
}

func TestSilentIsDroppedWhenReplaced(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		dead := newFake("dead")
		dead.silent, dead.stubborn = true, true
		b.register("films", "x.0", dead)
		b.register("films", "x.0", newFake("new"))
		b.log.reset()
		time.Sleep(2 * time.Second)
		b.log.want(t, "dead: origin dropped, it does not answer (1)", "dead: origin disconnected (1)")
	})
}

// A session that ends while it is asked has not been silent: it went as it should.
func TestEndingIsNotSilent(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		old := newFake("old")
		old.stubborn, old.ending = true, true
		b.register("films", "x.0", old)
		b.register("films", "x.0", newFake("new"))
		synctest.Wait()
		old.die(spdy.ErrGoingAway)
		b.log.want(t, "old: origin connected (1)", "new: origin connected (1)", "old: origin replaced by a newer connection (1)", "old: origin disconnected (1)")
	})
}
