package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// daemon is one holdfastd that is killed and started again, always at the same address.
type daemon struct {
	name     string
	binary   string
	config   string
	log      string
	listen   string
	proxy    *proxy
	election []*proxy   // to the servers of its election
	mutex    sync.Mutex // of the process: start, kill, pause
	child    *exec.Cmd
	exited   chan struct{}
	paused   bool
	wanted   atomic.Bool // it should be running
	died     func(error) // called when it is not
	// Its storage may refuse while it starts, so that it ends: then it is started again, as a supervisor does. nil: a problem.
	gaveUp func()
}

// launcher starts all children on one thread that lives as long as the program: the kernel ends a child when the thread
// that started it ends, and that is how no daemon outlives a killed test.
var launcher = make(chan func())

func init() {
	go func() {
		runtime.LockOSThread()
		for start := range launcher {
			start()
		}
	}()
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func newDaemon(work, name, binary string, settings []string) (*daemon, error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	d := &daemon{name: name, binary: binary, config: filepath.Join(work, name+".yaml"), log: filepath.Join(work, name+".log"),
		listen: listen}
	lines := append([]string{"listen: " + listen, "replica.name: " + name}, settings...)
	if err := os.WriteFile(d.config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return nil, err
	}
	d.proxy, err = newProxy(listen, true)
	return d, err
}

func (d *daemon) spawn(arguments ...string) (*exec.Cmd, error) {
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	command := exec.Command(d.binary, append([]string{"--config", d.config}, arguments...)...)
	command.Stdout, command.Stderr = out, out
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan error)
	launcher <- func() { done <- command.Start() }
	return command, <-done
}

func (d *daemon) start() error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.startLocked()
}

func (d *daemon) startLocked() error {
	child, err := d.spawn()
	if err != nil {
		return err
	}
	exited := make(chan struct{})
	d.child, d.exited, d.paused = child, exited, false
	d.wanted.Store(true)
	go func() {
		err := child.Wait()
		close(exited)
		if d.wanted.Load() {
			d.endedByItself(child, err)
		}
	}()
	return nil
}

const exitUnavailable, exitUnknown = 8, 9

func (d *daemon) endedByItself(child *exec.Cmd, err error) {
	code := child.ProcessState.ExitCode()
	if d.gaveUp == nil || (code != exitUnavailable && code != exitUnknown) {
		d.died(fmt.Errorf("%s ended by itself: %v; its log: %s", d.name, err, d.log))
		return
	}
	d.gaveUp()
	time.Sleep(100 * time.Millisecond)
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.wanted.Load() && !d.running() {
		if err := d.startLocked(); err != nil {
			d.died(err)
		}
	}
}

func (d *daemon) running() bool {
	if d.exited == nil {
		return false
	}
	select {
	case <-d.exited:
		return false
	default:
		return true
	}
}

// signal sends one while the process is there for sure; false: it is not.
func (d *daemon) signal(which syscall.Signal) bool {
	return d.running() && d.child.Process.Signal(which) == nil
}

// kill is kill -9; on return the process is gone.
func (d *daemon) kill() bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if !d.wanted.Swap(false) {
		return false
	}
	if !d.signal(syscall.SIGKILL) {
		d.wanted.Store(true) // it has ended by itself and is about to be started again
		return false
	}
	<-d.exited
	return true
}

func (d *daemon) pause() bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.paused = d.signal(syscall.SIGSTOP)
	return d.paused
}

func (d *daemon) resume() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.signal(syscall.SIGCONT)
	d.paused = false
}

// stop is an orderly end, forced when it takes too long; the error says how it ended otherwise.
func (d *daemon) stop() error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.wanted.Store(false)
	if !d.running() {
		return nil
	}
	d.signal(syscall.SIGCONT)
	d.signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(20 * time.Second):
		d.signal(syscall.SIGKILL)
		<-d.exited
		return fmt.Errorf("%s did not end within 20 s of SIGTERM", d.name)
	}
	if code := d.child.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with exit code %d; its log: %s", d.name, code, d.log)
	}
	return nil
}

var direct = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// leads asks the daemon itself, past the proxy.
func (d *daemon) leads() bool {
	answer, err := direct.Get("http://" + d.listen + "/v1/status")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	var status struct {
		State string `json:"state"`
	}
	return json.NewDecoder(answer.Body).Decode(&status) == nil && status.State == "leading"
}

// quorumProxies puts a proxy before each server of the election, so that one replica alone can lose them.
func quorumProxies(servers string) (proxies []*proxy, settings []string, err error) {
	if servers == "" {
		return nil, nil, nil
	}
	var names []string
	for _, server := range strings.Split(servers, ",") {
		p, err := newProxy(server, false)
		if err != nil {
			return nil, nil, err
		}
		proxies, names = append(proxies, p), append(names, p.listener.Addr().String())
	}
	return proxies, []string{"election: zookeeper", "election.zookeeper.quorum: " + strings.Join(names, ",")}, nil
}
