package main

import (
	"math/rand"
	"sync"
	"sync/atomic"
	"time"
)

const (
	managers = 3
	readers  = 3
)

// cluster is one Flink cluster for some seconds: its managers and readers, and what they have seen. Histories stay short, so
// that each can be checked as a whole: all jobs, sessions and addresses of the cluster together.
type cluster struct {
	world   *world
	name    string
	history *history
	until   time.Time
	stopped atomic.Bool
	mutex   sync.Mutex
	leading []leading
}

type leading struct {
	manager *manager
	session string
	fence   uint64
}

func (c *cluster) over() bool { return c.stopped.Load() || time.Now().After(c.until) || c.world.over() }

// leadsNow: a grant was received. Nobody whose fence is older can still have a promise.
func (c *cluster) leadsNow(m *manager, fence uint64, now int64) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, other := range c.leading {
		o := other.manager
		o.mutex.Lock()
		early := other.fence < fence && o.session == other.session && !o.void && now < o.promise
		promise := o.promise
		o.mutex.Unlock()
		if early {
			c.world.problem("cluster %s: session %.8s was promised life until %d ms, and fence %d was granted to another at %d ms",
				c.name, other.session, promise/1e6, fence, now/1e6)
		}
	}
	c.leading = append(c.leading, leading{m, m.session, fence})
}

// caller with dice of its own, so that one client's calls do not change another's.
func (w *world) caller(faults float64) caller {
	id := int(w.clients.Add(1))
	return caller{world: w, id: id, dice: rand.New(rand.NewSource(w.seed + int64(id))), at: id % len(w.daemons), faults: faults}
}

// run lives the cluster's life and returns when its last answer is in.
func (c *cluster) run() bool {
	var all sync.WaitGroup
	w := c.world
	for i := 0; i < managers; i++ {
		m := &manager{caller: w.caller(w.faultShare), cluster: c}
		all.Add(1)
		go func() {
			defer all.Done()
			m.run()
		}()
	}
	for i := 0; i < readers; i++ {
		r := w.caller(w.faultShare / 2)
		r.stubborn = i > 0
		all.Add(1)
		go func() {
			defer all.Done()
			defer r.hangUp()
			for !c.over() {
				r.read(c.history, []string{"j1", "j2"}[r.dice.Intn(jobs)], r.dice.Intn(10))
				w.pause(time.Duration(float64(w.pace) * r.dice.ExpFloat64()))
				if r.dice.Intn(200) == 0 {
					r.hangUp()
					r.at = r.dice.Intn(len(w.daemons)) // a replica that does not lead says so
				}
			}
		}()
	}
	all.Wait()
	last := w.caller(0)
	defer last.hangUp()
	return last.settle(c.history)
}
