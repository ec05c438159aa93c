package main

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// nemesis does harm, one thing at a time, and puts it right again.
type nemesis struct {
	world *world
	dice  *rand.Rand
	disk  string
	pids  []int // of servers
	acts  []func()
}

// newNemesis: disk is a folder on the small disk of the store's own, or empty; oneOnly: the store refuses a second daemon.
func newNemesis(w *world, disk, servers string, oneOnly bool) (*nemesis, error) {
	n := &nemesis{world: w, dice: rand.New(rand.NewSource(w.seed)), disk: disk}
	n.acts = []func(){n.kill, n.kill, n.kill, n.killAtAnswer, n.killAtAnswer, n.killAtAnswer, n.stopContinue, n.stopContinue,
		n.cut, n.cut, n.silence}
	if disk != "" {
		n.acts = append(n.acts, n.fill)
	}
	if servers != "" {
		for _, text := range strings.Split(servers, ",") {
			pid, err := strconv.Atoi(text)
			if err != nil {
				return nil, err
			}
			n.pids = append(n.pids, pid)
		}
		n.acts = append(n.acts, n.pauseServer)
	}
	if len(w.daemons[0].election) > 0 {
		n.acts = append(n.acts, n.isolate, n.isolate, n.sleep, n.sleep, n.sleep)
	} else if len(w.daemons) == 1 && oneOnly {
		n.acts = append(n.acts, n.second)
	}
	return n, nil
}

func (n *nemesis) between(low, high time.Duration) time.Duration {
	return low + time.Duration(n.dice.Int63n(int64(high-low)))
}

// victim is most often the leader.
func (n *nemesis) victim() *daemon {
	all := n.world.daemons
	if n.dice.Intn(4) > 0 {
		for _, d := range all {
			if d.leads() {
				return d
			}
		}
	}
	return all[n.dice.Intn(len(all))]
}

func (n *nemesis) run(until time.Time) {
	for time.Now().Before(until) && !n.world.over() {
		n.world.pause(n.between(300*time.Millisecond, 2*time.Second))
		if time.Now().Before(until) && len(n.acts) > 0 {
			n.acts[n.dice.Intn(len(n.acts))]()
		}
	}
	n.world.trap.Store(nil)
}

func (n *nemesis) restart(d *daemon) {
	n.world.pause(n.between(0, 800*time.Millisecond))
	if err := d.start(); err != nil {
		n.world.problem("%s cannot be started: %v", d.name, err)
	}
}

func (n *nemesis) kill() {
	d := n.victim()
	if d.kill() {
		n.world.stats.kills.Add(1)
		n.restart(d)
	}
}

// trap: the client that receives the next answer to such a write kills the daemon that gave it, before anything else.
type trap struct {
	kind  string // "": any
	fired chan *daemon
}

func (n *nemesis) killAtAnswer() {
	kinds := []string{"", "", "close", "open", "publish", "put result", "put graph", "reserve"}
	t := &trap{kind: kinds[n.dice.Intn(len(kinds))], fired: make(chan *daemon, 1)}
	n.world.trap.Store(t)
	select {
	case d := <-t.fired:
		if d != nil {
			n.world.stats.kills.Add(1)
			n.restart(d)
		}
	case <-time.After(4 * time.Second):
		if !n.world.trap.CompareAndSwap(t, nil) {
			if d := <-t.fired; d != nil {
				n.world.stats.kills.Add(1)
				n.restart(d)
			}
		}
	}
}

func (n *nemesis) stopContinue() {
	d := n.victim()
	if d.pause() {
		n.world.stats.pauses.Add(1)
		n.world.pause(n.between(100*time.Millisecond, ttl+ttl/2))
		d.resume()
	}
}

// sleep is a leader that wakes up when another one has led for a moment. What it was sent meanwhile it must not answer as one.
func (n *nemesis) sleep() {
	all := n.world.daemons
	for _, d := range all {
		if !d.leads() || !d.pause() {
			continue
		}
		n.world.stats.pauses.Add(1)
		for bound := time.Now().Add(4 * ttl); time.Now().Before(bound) && !n.world.over(); {
			if other := n.leaderBesides(d); other != nil {
				n.world.stats.sleepers.Add(1)
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		n.world.pause(n.between(100*time.Millisecond, time.Second))
		d.resume()
		return
	}
}

func (n *nemesis) leaderBesides(d *daemon) *daemon {
	for _, other := range n.world.daemons {
		if other != d && other.leads() {
			return other
		}
	}
	return nil
}

func (n *nemesis) cut() {
	n.world.stats.cuts.Add(int64(n.victim().proxy.cutAll()))
}

// silence: nothing passes, for a while; then all that waited does, or is cut.
func (n *nemesis) silence() {
	p := n.victim().proxy
	modes := []int32{silent, refusing}
	mode := modes[n.dice.Intn(2)]
	p.setMode(mode)
	n.world.stats.partitions.Add(1)
	if mode == refusing {
		n.world.stats.cuts.Add(int64(p.cutAll()))
	}
	n.world.pause(n.between(200*time.Millisecond, ttl+ttl/2))
	if n.dice.Intn(2) == 0 {
		n.world.stats.cuts.Add(int64(p.cutAll()))
	}
	p.setMode(passing)
}

// isolate takes the election's servers from one replica, which keeps its clients and the store.
func (n *nemesis) isolate() {
	d := n.victim()
	mode := []int32{silent, refusing}[n.dice.Intn(2)]
	for _, p := range d.election {
		p.setMode(mode)
		if mode == refusing {
			p.cutAll()
		}
	}
	n.world.stats.isolated.Add(1)
	n.world.pause(n.between(500*time.Millisecond, 2*ttl))
	for _, p := range d.election {
		p.setMode(passing)
	}
}

// pauseServer stops a server of the election or of the store for a while.
func (n *nemesis) pauseServer() {
	pid := n.pids[n.dice.Intn(len(n.pids))]
	if syscall.Kill(pid, syscall.SIGSTOP) != nil {
		n.world.problem("server %d is not there", pid)
		return
	}
	n.world.stats.serverPauses.Add(1)
	n.world.pause(n.between(100*time.Millisecond, ttl))
	syscall.Kill(pid, syscall.SIGCONT)
}

// fill leaves no room on the disk of the store for a while.
func (n *nemesis) fill() {
	path := filepath.Join(n.disk, "filler")
	filler, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.world.problem("no filler: %v", err)
		return
	}
	n.world.stats.full.Add(1)
	until := time.Now().Add(n.between(300*time.Millisecond, 2*time.Second))
	piece := make([]byte, 64<<10)
	for time.Now().Before(until) {
		if _, err := filler.Write(piece); err != nil {
			filler.Write(piece[:4096])
			time.Sleep(5 * time.Millisecond) // what the daemon frees is taken again
		}
	}
	filler.Close()
	if err := os.Remove(path); err != nil {
		n.world.problem("the filler stays: %v", err)
	}
}

// second opens the store with another daemon that knows nothing of the first. It has to refuse, and to do no harm.
func (n *nemesis) second() {
	d := n.world.daemons[0]
	listen, err := freeAddress()
	if err != nil {
		n.world.problem("no port: %v", err)
		return
	}
	child, err := d.spawn("-D", "listen="+listen)
	if err != nil {
		n.world.problem("a second daemon cannot be started: %v", err)
		return
	}
	n.world.stats.seconds.Add(1)
	ended := make(chan struct{})
	go func() {
		child.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		if child.ProcessState.ExitCode() == 0 {
			n.world.problem("a second daemon on the store ended without an error")
		}
	case <-time.After(10 * time.Second):
		n.world.problem("a second daemon on the store has not ended within 10 s")
		child.Process.Signal(syscall.SIGKILL)
		<-ended
	}
}

// readLog counts how often the daemon became leader, and finds what no daemon may say of itself.
func (w *world) readLog(d *daemon) error {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.Contains(line, " event=daemon.serving ") {
			w.stats.leaders.Add(1)
		}
		for _, bad := range []string{"assertion", "AddressSanitizer", "runtime error:", "LeakSanitizer"} {
			if strings.Contains(line, bad) {
				return fmt.Errorf("%s: %s", d.name, line)
			}
		}
	}
	return nil
}
