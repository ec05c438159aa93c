package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	ttl  = 3 * time.Second
	jobs = 2 // of a cluster
)

var (
	jsonBody  = "application/json"
	octetBody = "application/octet-stream"
)

// manager is what a JobManager is to the service: one session after another, each with its event stream, and writes under
// the fence that it was granted, also after it has lost it.
type manager struct {
	caller
	cluster *cluster
	serial  int
	session string
	opening int64         // call of the first attempt
	promise int64         // it lives at least that long, unless its connection was cut or it was closed
	void    bool          // no promise holds any more
	mutex   sync.Mutex    // of what the stream's reader writes as well
	leader  string        // granted, "" : not (yet)
	fence   uint64        // of the grant
	stream  *link         // now attached
	gone    chan struct{} // closed when the session is given up
	renewAt time.Time
	ids     []uint64 // reserved and not yet used
	last    *operation
	lastIn  []byte // body of the last commit
	refused int    // FENCED in a row
	with    uint64 // fence of the calls under way
	under   string // and its leader session
}

func (m *manager) base() string { return "/v1/clusters/lin/" + m.cluster.name }

func (m *manager) tag(what string) string {
	m.serial++
	return fmt.Sprintf("%s%d.%d", what, m.id, m.serial)
}

func (m *manager) granted() (string, uint64) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.leader, m.fence
}

func (m *manager) head(content string, fenced bool) http.Header {
	h := http.Header{}
	if content != "" {
		h.Set("Content-Type", content)
	}
	if fenced {
		h.Set("Holdfast-Session", m.session)
		h.Set("Holdfast-Fence", strconv.FormatUint(m.with, 10))
	}
	return h
}

// promised notes an answer that promises life from the moment its request was sent.
func (m *manager) promised(sent, remainingMs int64) {
	end := sent + remainingMs*int64(time.Millisecond)/100*95
	m.mutex.Lock()
	if end > m.promise {
		m.promise = end
	}
	m.mutex.Unlock()
}

func (m *manager) voided() {
	m.mutex.Lock()
	m.void = true
	m.mutex.Unlock()
}

// open registers a new session and attaches to its events. false: the run is over.
func (m *manager) open() bool {
	random := make([]byte, 16)
	m.dice.Read(random)
	m.mutex.Lock()
	m.session, m.leader, m.fence, m.opening, m.promise, m.void, m.refused = hex.EncodeToString(random), "", 0, m.world.now(), 0,
		false, 0
	m.mutex.Unlock()
	m.with, m.under, m.ids = 0, "", nil
	body, _ := json.Marshal(map[string]interface{}{"session": m.session, "holder": "jm-" + m.session, "ttl_ms": ttl.Milliseconds()})
	for !m.cluster.over() {
		op := &operation{Kind: "open", Session: m.session}
		r := m.call(m.cluster.history, op, true, "POST", m.base()+"/sessions", m.head(jsonBody, false), body)
		if r != nil && r.Status == "OK" {
			m.promised(op.Call, r.Remaining)
			m.gone = make(chan struct{})
			m.renewAt = time.Now().Add(ttl / 4)
			go m.listen(m.session, m.opening, m.gone)
			return true
		}
		if r != nil {
			return false
		}
		m.nap()
	}
	return false
}

// listen keeps the session's stream attached and takes grants from it.
func (m *manager) listen(session string, opening int64, gone chan struct{}) {
	at := m.at
	for {
		select {
		case <-gone:
			return
		default:
		}
		hint, cut := m.attach(session, opening, at, gone)
		if cut {
			m.mutex.Lock()
			if m.session == session {
				m.void = true
			}
			m.mutex.Unlock()
		}
		at = (at + 1) % len(m.world.daemons)
		for i, d := range m.world.daemons {
			if d.listen == hint {
				at = i
			}
		}
		m.world.pause(20 * time.Millisecond)
	}
}

// attach reads one stream to its end. cut: the daemon may have seen it closed by us.
func (m *manager) attach(session string, opening int64, at int, gone chan struct{}) (hint string, cut bool) {
	conn, l, err := m.world.daemons[at].proxy.dial()
	if err != nil {
		return "", false
	}
	defer conn.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-gone:
			conn.Close()
		case <-stop:
		}
	}()
	sent := m.world.now()
	path := fmt.Sprintf("%s/sessions/%s/events?contend=true", m.base(), session)
	conn.SetDeadline(time.Now().Add(callTimeout))
	conn.Write(request("GET", path, http.Header{}, nil))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", true
	}
	if response.StatusCode != 200 {
		var refusal wire
		json.NewDecoder(response.Body).Decode(&refusal)
		return refusal.Leader, false
	}
	m.mutex.Lock()
	m.stream = l
	m.mutex.Unlock()
	lines := bufio.NewScanner(response.Body)
	for {
		conn.SetDeadline(time.Now().Add(ttl))
		if !lines.Scan() {
			// Not over: it was silent for too long, and we close it.
			return "", l.cut.Load() || !l.over.Load()
		}
		var event wire
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		switch event.Event {
		case "attached":
			if m.sessionIs(session) {
				m.promised(sent, event.Remaining)
			}
		case "granted":
			m.take(session, opening, event)
		case "ended":
			if m.sessionIs(session) {
				m.lost(&operation{Kind: "its stream", Status: "ended", Return: m.world.now()})
			}
			return "", true
		case "replaced":
			return "", true
		}
	}
}

func (m *manager) sessionIs(session string) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.session == session
}

func (m *manager) take(session string, opening int64, event wire) {
	now := m.world.now()
	m.cluster.history.add(&operation{Client: m.id, Call: opening, Return: now, Kind: "granted", Session: session,
		Leader: event.LeaderSession, Status: "OK", Answer: answer{Revision: event.Fence}})
	if !m.sessionIs(session) {
		return
	}
	m.mutex.Lock()
	m.leader, m.fence = event.LeaderSession, event.Fence
	m.mutex.Unlock()
	m.cluster.leadsNow(m, event.Fence, now)
}

func (m *manager) renew() {
	op := &operation{Kind: "renew", Session: m.session}
	r := m.call(m.cluster.history, op, false, "POST", m.base()+"/sessions/"+m.session+"/renew", m.head(jsonBody, false), []byte("{}"))
	m.renewAt = time.Now().Add(ttl / 4)
	switch {
	case r == nil:
		m.renewAt = time.Now().Add(ttl / 10)
	case r.Status == "OK":
		m.promised(op.Call, r.Remaining)
	default:
		m.lost(op)
	}
}

// lost: the service says that the session or its leadership is over. Was it allowed to be?
func (m *manager) lost(op *operation) {
	m.mutex.Lock()
	early := !m.void && op.Return < m.promise
	m.mutex.Unlock()
	if early {
		m.world.problem("cluster %s: session %.8s was promised life until %d ms, and %s was answered %s at %d ms", m.cluster.name,
			m.session, m.promise/1e6, op.Kind, op.Status, op.Return/1e6)
	}
}

// leave ends the session: by a call, or by letting go of everything.
func (m *manager) leave(politely bool) {
	if m.gone == nil {
		return
	}
	m.voided()
	if politely {
		for attempt := 0; attempt < 40; attempt++ {
			op := &operation{Kind: "close", Session: m.session}
			if m.call(m.cluster.history, op, true, "DELETE", m.base()+"/sessions/"+m.session, m.head("", false), nil) != nil {
				break
			}
			m.nap()
		}
	}
	if politely && m.with != 0 && m.dice.Intn(2) == 0 {
		m.publish() // under a fence that is over
	}
	if politely && m.dice.Intn(2) == 0 {
		m.renew()
	}
	close(m.gone)
	m.gone = nil
}

func (m *manager) nap() { m.world.pause(time.Duration(float64(m.world.pace) * m.dice.ExpFloat64())) }

func (m *manager) run() {
	defer m.hangUp()
	for !m.cluster.over() {
		if m.gone == nil && !m.open() {
			continue
		}
		if time.Now().After(m.renewAt) {
			m.renew()
		}
		if m.dice.Intn(30) == 0 { // perhaps one that led until a moment ago, and still thinks so
			m.hangUp()
			m.at = m.dice.Intn(len(m.world.daemons))
		}
		m.act()
		m.nap()
	}
	m.leave(true)
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
