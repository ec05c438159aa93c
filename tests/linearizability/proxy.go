package main

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

type fault int

const (
	noFault    fault = iota
	cutBefore        // nothing of the request arrives
	cutMiddle        // half of it
	cutAfter         // all of it, and the connection is closed at once
	loseAnswer       // all of it, and the connection is closed when the answer comes
	late             // the client's side is closed at once, the request arrives after a pause
	slow             // it arrives after a pause
	faultCount
)

func (f fault) String() string {
	return [...]string{"none", "cut before the request", "cut within the request", "cut after the request",
		"answer lost", "request late, client gone", "request late"}[f]
}

const (
	passing int32 = iota
	silent        // nothing goes through, nothing is closed; what waits goes on afterwards
	refusing
)

// proxy stands between the clients and one daemon.
type proxy struct {
	listener net.Listener
	target   string
	mode     atomic.Int32
	mutex    sync.Mutex
	changed  *sync.Cond
	fresh    map[string]*link // accepted, by the client's address, until dial takes it; nil: nobody dials
	links    map[*link]bool
}

// link is one connection through it.
type link struct {
	proxy  *proxy
	client net.Conn
	server net.Conn
	up     chan bool // one answer: did the daemon accept?
	mutex  sync.Mutex
	fault  fault // of the next request
	pause  time.Duration
	losing atomic.Bool
	cut    atomic.Bool // by us
	over   atomic.Bool
	once   sync.Once
}

// newProxy: dialled says that all connections are made by dial.
func newProxy(target string, dialled bool) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, target: target, links: map[*link]bool{}}
	if dialled {
		p.fresh = map[string]*link{}
	}
	p.changed = sync.NewCond(&p.mutex)
	go p.accept()
	return p, nil
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		l := &link{proxy: p, client: conn, up: make(chan bool, 1)}
		p.mutex.Lock()
		p.links[l] = true
		if p.fresh != nil {
			p.fresh[conn.RemoteAddr().String()] = l
			p.changed.Broadcast()
		}
		p.mutex.Unlock()
		go l.run()
	}
}

// dial opens a connection through the proxy. An error says that nothing has reached the daemon.
func (p *proxy) dial() (net.Conn, *link, error) {
	conn, err := net.DialTimeout("tcp", p.listener.Addr().String(), time.Second)
	if err != nil {
		return nil, nil, err
	}
	p.mutex.Lock()
	l := p.fresh[conn.LocalAddr().String()]
	for l == nil {
		p.changed.Wait()
		l = p.fresh[conn.LocalAddr().String()]
	}
	delete(p.fresh, conn.LocalAddr().String())
	p.mutex.Unlock()
	if !<-l.up {
		conn.Close()
		return nil, nil, fmt.Errorf("%s cannot be reached", p.target)
	}
	return conn, l, nil
}

// cutAll closes every connection.
func (p *proxy) cutAll() int {
	p.mutex.Lock()
	var all []*link
	for l := range p.links {
		all = append(all, l)
	}
	p.mutex.Unlock()
	for _, l := range all {
		l.cutNow()
	}
	return len(all)
}

func (p *proxy) setMode(mode int32) {
	p.mutex.Lock()
	p.mode.Store(mode)
	p.changed.Broadcast()
	p.mutex.Unlock()
}

func (p *proxy) waitPassing() {
	if p.mode.Load() != silent {
		return
	}
	p.mutex.Lock()
	for p.mode.Load() == silent {
		p.changed.Wait()
	}
	p.mutex.Unlock()
}

// arm sets the fault of the next request; called by the client before it sends.
func (l *link) arm(f fault, pause time.Duration) {
	l.mutex.Lock()
	l.fault, l.pause = f, pause
	l.mutex.Unlock()
}

func (l *link) take() (fault, time.Duration) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	f := l.fault
	l.fault = noFault
	return f, l.pause
}

func (l *link) cutNow() {
	l.cut.Store(true)
	l.close()
}

func (l *link) close() {
	l.once.Do(func() {
		l.over.Store(true)
		l.client.Close()
		l.mutex.Lock()
		if l.server != nil {
			l.server.Close()
		}
		l.mutex.Unlock()
		l.proxy.mutex.Lock()
		delete(l.proxy.links, l)
		l.proxy.mutex.Unlock()
	})
}

func (l *link) run() {
	defer l.close()
	if l.proxy.mode.Load() == refusing {
		l.up <- false
		return
	}
	server, err := net.DialTimeout("tcp", l.proxy.target, time.Second)
	if err != nil {
		l.up <- false
		return
	}
	l.mutex.Lock()
	l.server = server
	l.mutex.Unlock()
	if l.over.Load() {
		server.Close()
	}
	l.up <- true
	go l.answers()
	buffer := make([]byte, 256<<10)
	for {
		n, err := l.client.Read(buffer)
		if err != nil {
			return
		}
		l.proxy.waitPassing()
		if !l.forward(buffer[:n]) {
			return
		}
	}
}

func (l *link) forward(request []byte) bool {
	f, pause := l.take()
	switch f {
	case cutBefore:
		l.cut.Store(true)
		return false
	case cutMiddle:
		request = request[:len(request)/2]
	case loseAnswer:
		l.losing.Store(true)
	case late:
		l.cut.Store(true)
		l.over.Store(true)
		l.client.Close()
		time.Sleep(pause)
	case slow:
		time.Sleep(pause)
	}
	if _, err := l.server.Write(request); err != nil {
		return false
	}
	if f == cutMiddle || f == cutAfter {
		l.cut.Store(true)
		return false
	}
	return true
}

func (l *link) answers() {
	defer l.close()
	buffer := make([]byte, 256<<10)
	for {
		n, err := l.server.Read(buffer)
		if err != nil {
			return
		}
		l.proxy.waitPassing()
		if l.losing.Load() {
			l.cut.Store(true)
			return
		}
		if _, err := l.client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
