// The linearizability test: real holdfastd processes, concurrent clients, faults from one seed, and porcupine to judge the
// answers. See README.md. Started by run.py, which brings the disk and the election.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/anishathalye/porcupine"
)

type syncCounts struct {
	mutex sync.Mutex
	of    map[string]int64
}

func (c *syncCounts) add(name string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.of == nil {
		c.of = map[string]int64{}
	}
	c.of[name]++
}

// world is one run.
type world struct {
	seed       int64
	pace       time.Duration // mean pause of a client between two calls
	faultShare float64
	patience   time.Duration // of the checker, for one history
	work       string
	begun      time.Time
	until      time.Time
	daemons    []*daemon
	stats      counters
	clients    atomic.Int64
	ended      atomic.Bool
	trap       atomic.Pointer[trap]
	mutex      sync.Mutex
	problems   []string
	checked    int
	violations int
	undecided  int
	checking   time.Duration
	histories  chan *history
	samples    []*history // good ones, for the planted errors
	length     time.Duration
	planted    map[string]int
}

func (w *world) now() int64 { return int64(time.Since(w.begun)) }

func (w *world) over() bool { return w.ended.Load() }

func (w *world) pause(d time.Duration) {
	if !w.over() {
		time.Sleep(d)
	}
}

func (w *world) problem(format string, args ...interface{}) {
	text := fmt.Sprintf(format, args...)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.problems = append(w.problems, text)
	if len(w.problems) <= 20 {
		fmt.Printf("PROBLEM at %.1f s: %s\n", time.Since(w.begun).Seconds(), text)
	}
}

// sprung: the answer to a write has just been received.
func (w *world) sprung(kind string, at int) {
	t := w.trap.Load()
	if t == nil || (t.kind != "" && t.kind != kind) || !w.trap.CompareAndSwap(t, nil) {
		return
	}
	d := w.daemons[at]
	if !d.kill() {
		d = nil
	}
	t.fired <- d
}

// slot lets one cluster follow the other.
func (w *world) slot(number int) {
	for life := 0; time.Now().Before(w.until) && !w.over(); life++ {
		length := time.Duration(4+(number+life)%4) * time.Second
		c := &cluster{world: w, name: fmt.Sprintf("c%d-%d", number, life), until: time.Now().Add(length)}
		if c.until.After(w.until) {
			c.until = w.until
		}
		c.history = newHistory(c.name)
		if !c.run() {
			w.problem("cluster %s: no answer within a minute of its end", c.name)
		}
		w.histories <- c.history
	}
}

func (w *world) checker() {
	for h := range w.histories {
		begun := time.Now()
		result := check(h.all, w.patience)
		w.mutex.Lock()
		w.checked++
		w.checking += time.Since(begun)
		if result == porcupine.Ok {
			w.keep(h)
		}
		w.mutex.Unlock()
		if result == porcupine.Ok {
			continue
		}
		at, err := dump(h, w.work, w.patience)
		if err != nil {
			w.problem("cluster %s: its history cannot be written: %v", h.name, err)
		}
		w.mutex.Lock()
		if result == porcupine.Illegal {
			w.violations++
		} else {
			w.undecided++
		}
		w.mutex.Unlock()
		if result == porcupine.Illegal {
			w.problem("cluster %s: no order explains the answers; see %s.html and .json", h.name, at)
		} else {
			w.problem("cluster %s: not decided within %s; see %s.json", h.name, w.patience, at)
		}
	}
}

func (w *world) report() map[string]interface{} {
	faults := map[string]int64{}
	for f := noFault + 1; f < faultCount; f++ {
		faults[f.String()] = w.stats.faults[f].Load()
	}
	return map[string]interface{}{
		"seed": w.seed, "replicas": len(w.daemons), "seconds": int(time.Since(w.begun).Seconds()),
		"operations": w.stats.operations.Load(), "ambiguous": w.stats.ambiguous.Load(), "clients": w.clients.Load(),
		"leaders_asleep": w.stats.sleepers.Load(), "kills": w.stats.kills.Load(), "pauses": w.stats.pauses.Load(), "cuts": w.stats.cuts.Load(),
		"partitions": w.stats.partitions.Load(), "partitions_from_election": w.stats.isolated.Load(),
		"server_pauses": w.stats.serverPauses.Load(), "starts_given_up": w.stats.gaveUp.Load(), "daemons_that_became_leader": w.stats.leaders.Load(),
		"full_disks": w.stats.full.Load(), "second_daemons": w.stats.seconds.Load(),
		"request_faults": faults, "refusals": w.stats.statuses.of, "clusters_checked": w.checked,
		"violations": w.violations, "undecided": w.undecided, "planted_and_found": w.planted, "problems": len(w.problems), "first_problems": firstOf(w.problems, 10),
		"longest_without_answer_ms": w.stats.longestAnswer.Load() / 1e6,
		"longest_without_write_ms":  w.stats.longestWrite.Load() / 1e6, "checker_seconds": int(w.checking.Seconds()),
	}
}

func firstOf(list []string, n int) []string {
	if len(list) > n {
		return list[:n]
	}
	return append([]string{}, list...)
}

func (w *world) live(slots int, nemesis *nemesis) {
	var all sync.WaitGroup
	for number := 0; number < slots; number++ {
		number := number
		all.Add(1)
		go func() {
			defer all.Done()
			w.slot(number)
		}()
	}
	checked := make(chan struct{})
	go func() {
		w.checker()
		close(checked)
	}()
	ticker := time.NewTicker(30 * time.Second)
	defer ticker.Stop()
	go func() {
		for range ticker.C {
			fmt.Printf("  %.0f s: %d operations, %d ambiguous, %d kills, %d clusters checked\n", time.Since(w.begun).Seconds(),
				w.stats.operations.Load(), w.stats.ambiguous.Load(), w.stats.kills.Load(), w.checked)
		}
	}()
	nemesis.run(w.until)
	all.Wait()
	close(w.histories)
	<-checked
}

func run() error {
	minutes := flag.Float64("minutes", 1, "how long the clients work")
	binary := flag.String("daemon", "", "holdfastd")
	replicas := flag.Int("replicas", 1, "how many")
	work := flag.String("work", "", "folder for logs and histories")
	store := flag.String("store", "", "URL of the store; it must be empty")
	disk := flag.String("disk", "", "folder on the small disk of the store's own, which may be filled")
	zookeeper := flag.String("zookeeper", "", "the election's servers, host:port,host:port: each replica gets proxies of its own to them")
	servers := flag.String("servers", "", "process ids of servers that are stopped and continued, separated by ','")
	storeFails := flag.Bool("store-fails", false, "the store refuses requests: a daemon may end while it starts")
	settings := flag.String("settings", "", "more settings of the daemons, separated by ';'")
	seed := flag.Int64("seed", 0, "default: a new one, printed")
	slots := flag.Int("clusters", 4, "clusters at a time")
	pace := flag.Duration("pace", 25*time.Millisecond, "mean pause of a client between two calls")
	faults := flag.Float64("faults", 0.03, "share of requests that the proxy harms")
	output := flag.String("json", "", "write the counts to this file")
	again := flag.String("replay", "", "check a history that was dumped, and nothing else")
	selfTest := flag.Bool("self-test", false, "check that planted errors are found, and nothing else")
	calm := flag.Bool("calm", false, "no harm to the daemons")
	flag.Parse()
	if *again != "" {
		return replay(*again)
	}
	if err := plantedByHand(); err != nil {
		return err
	}
	if *selfTest {
		return nil
	}
	w := &world{seed: *seed, pace: *pace, faultShare: *faults, patience: time.Minute, work: *work, begun: time.Now(),
		histories: make(chan *history, 1000)}
	if w.seed == 0 {
		w.seed = time.Now().UnixNano() % (1 << 31)
	}
	fmt.Printf("seed %d\n", w.seed)
	common := []string{"store: " + *store, "session.ttl-min: 1s", "timeout.request: 1s", "store.snapshot-records: 400",
		"store.ballast: 1MiB", "log.level: info"}
	if *settings != "" {
		common = append(common, strings.Split(*settings, ";")...)
	}
	for i := 0; i < *replicas; i++ {
		election, quorum, err := quorumProxies(*zookeeper)
		if err != nil {
			return err
		}
		d, err := newDaemon(w.work, fmt.Sprintf("replica-%d", i), *binary, append(quorum, common...))
		if err != nil {
			return err
		}
		d.election = election
		d.died = func(err error) { w.problem("%v", err) }
		if *storeFails {
			d.gaveUp = func() { w.stats.gaveUp.Add(1) }
		}
		w.daemons = append(w.daemons, d)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-interrupted
		w.ended.Store(true)
		for _, d := range w.daemons {
			d.kill()
		}
		os.Exit(143)
	}()
	for _, d := range w.daemons {
		if err := d.start(); err != nil {
			return err
		}
	}
	w.length = time.Duration(*minutes * float64(time.Minute))
	w.until = time.Now().Add(w.length)
	n, err := newNemesis(w, *disk, *servers, strings.HasPrefix(*store, "file:"))
	if err != nil {
		return err
	}
	if *calm {
		w.faultShare = 0
		n.acts = nil
	}
	w.live(*slots, n)
	for _, d := range w.daemons {
		if err := d.stop(); err != nil {
			w.problem("%v", err)
		}
		if err := w.readLog(d); err != nil {
			w.problem("%v", err)
		}
	}
	if err := w.plantedInSamples(); err != nil {
		w.problem("%v", err)
	}
	return w.conclude(*output)
}

func (w *world) conclude(output string) error {
	result := w.report()
	text, err := json.MarshalIndent(result, "", " ")
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", text)
	if output != "" {
		if err := os.WriteFile(output, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if w.violations+w.undecided+len(w.problems) > 0 {
		return fmt.Errorf("%d violations, %d undecided, %d problems; logs and histories are in %s", w.violations, w.undecided,
			len(w.problems), filepath.Clean(w.work))
	}
	if w.checked == 0 || w.stats.operations.Load() == 0 {
		return fmt.Errorf("nothing was checked")
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Printf("linearizability: FAILED: %v\n", err)
		os.Exit(1)
	}
}
