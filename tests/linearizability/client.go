package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const callTimeout = 1500 * time.Millisecond

// wire is every field that an answer of the service can have.
type wire struct {
	Status        string          `json:"status"`
	Message       string          `json:"message"`
	Leader        string          `json:"leader"`
	Revision      uint64          `json:"revision"`
	Remaining     int64           `json:"remaining_ms"`
	Ended         bool            `json:"ended"`
	Removed       bool            `json:"removed"`
	From          uint64          `json:"from"`
	To            uint64          `json:"to"`
	NextID        uint64          `json:"next_id"`
	Struck        uint64          `json:"struck"`
	Subsumed      []uint64        `json:"subsumed"`
	Checkpoints   []wireEntry     `json:"checkpoints"`
	Discards      []wireEntry     `json:"discards"`
	Graphs        []wireGraph     `json:"graphs"`
	Results       []wireResult    `json:"results"`
	Holder        string          `json:"holder"`
	LeaderSession string          `json:"leader_session"`
	Event         string          `json:"event"`
	Fence         uint64          `json:"fence"`
	Components    map[string]wire `json:"components"`
	Address       string          `json:"address"`
}

type wireEntry struct {
	ID         uint64 `json:"id"`
	Pointer    string `json:"pointer"`
	Properties struct {
		Type string `json:"type"`
	} `json:"properties"`
}

type wireGraph struct {
	ID     string `json:"id"`
	Digest string `json:"digest"`
}

type wireResult struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	Result struct {
		V string `json:"v"`
	} `json:"result"`
}

// caller is one client: a connection at a time, to the replica that it takes for the leader.
type caller struct {
	world  *world
	id     int
	dice   *rand.Rand
	at     int // index of the daemon
	conn   net.Conn
	link   *link
	reader *bufio.Reader
	faults float64 // share of the requests
	// Stays where it is, whatever it is told: who once led and was paused or cut off must not answer from memory.
	stubborn bool
}

func (c *caller) hangUp() {
	if c.conn != nil {
		c.conn.Close()
		c.conn, c.link = nil, nil
	}
}

func (c *caller) nextEndpoint() {
	c.hangUp()
	if c.stubborn {
		return
	}
	c.at = (c.at + 1) % len(c.world.daemons)
}

// follow goes to the leader that a NOT_LEADER names.
func (c *caller) follow(leader string) {
	if c.stubborn {
		return
	}
	for i, d := range c.world.daemons {
		if d.listen == leader && i != c.at {
			c.hangUp()
			c.at = i
			return
		}
	}
	c.nextEndpoint()
}

func (c *caller) connect() error {
	if c.conn != nil && !c.link.over.Load() {
		return nil
	}
	c.hangUp()
	conn, l, err := c.world.daemons[c.at].proxy.dial()
	if err != nil {
		return err
	}
	c.conn, c.link, c.reader = conn, l, bufio.NewReader(conn)
	return nil
}

func request(method, path string, header http.Header, body []byte) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: holdfast\r\n", method, path)
	header.Write(&out)
	fmt.Fprintf(&out, "Content-Length: %d\r\n\r\n", len(body))
	out.Write(body)
	return out.Bytes()
}

type outcome int

const (
	notSent outcome = iota
	noAnswer
	answered
)

type reply struct {
	wire
	code   int
	body   []byte
	header http.Header
}

// once sends a request. Faults are drawn here, because only here it is known what a request is.
func (c *caller) once(method, path string, header http.Header, body []byte) (outcome, *reply) {
	if err := c.connect(); err != nil {
		return notSent, nil
	}
	if c.dice.Float64() < c.faults {
		f := fault(1 + c.dice.Intn(int(faultCount)-1))
		c.link.arm(f, time.Duration(20+c.dice.Intn(1200))*time.Millisecond)
		c.world.stats.faults[f].Add(1)
	}
	c.conn.SetDeadline(time.Now().Add(callTimeout))
	if _, err := c.conn.Write(request(method, path, header, body)); err != nil {
		c.hangUp()
		return noAnswer, nil
	}
	response, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err != nil {
		c.hangUp()
		return noAnswer, nil
	}
	r := &reply{code: response.StatusCode, header: response.Header}
	r.body, err = io.ReadAll(response.Body)
	if err != nil {
		c.hangUp()
		return noAnswer, nil
	}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(r.body, &r.wire); err != nil {
			c.world.problem("%s %s: answer is no JSON: %v: %q", method, path, err, r.body)
		}
	}
	if response.Close {
		c.hangUp()
	}
	if r.code == 200 {
		r.Status = "OK"
	}
	return answered, r
}

// Refusals that say that nothing was written, and nothing about the state.
var elsewhere = map[string]bool{"NOT_LEADER": true, "UNAVAILABLE": true, "LIMIT": true, "FULL": true, "TIMEOUT": true}

// Refusals that speak of the state: they are in the model.
var refusals = map[string]string{
	"commit": "EXISTS", "put graph": "EXISTS NOT_FOUND CONFLICT", "put result": "EXISTS", "clean result": "NOT_FOUND",
	"renew": "GONE", "graph": "NOT_FOUND",
}

// call makes an operation: sends it, and records what the answer says. nil: it did not take place, as far as is known.
func (c *caller) call(h *history, op *operation, writes bool, method, path string, header http.Header, body []byte) *reply {
	op.Client = c.id
	op.Call = c.world.now()
	got, r := c.once(method, path, header, body)
	op.Return = c.world.now()
	if got == notSent {
		c.world.stats.notSent.Add(1)
		c.nextEndpoint()
		c.world.pause(time.Duration(10+c.dice.Intn(40)) * time.Millisecond)
		return nil
	}
	if got == noAnswer || r.Status == "UNKNOWN" {
		op.Status = unknown
		if got == noAnswer {
			c.nextEndpoint()
		} else {
			c.world.pause(time.Duration(50+c.dice.Intn(200)) * time.Millisecond)
		}
		if writes {
			c.world.stats.ambiguous.Add(1)
			h.add(op)
		}
		return nil
	}
	op.Status = r.Status
	if elsewhere[r.Status] {
		c.world.stats.refused(r.Status)
		if r.Status == "NOT_LEADER" {
			c.follow(r.Leader)
		}
		c.world.pause(time.Duration(5+c.dice.Intn(30)) * time.Millisecond)
		return nil
	}
	if r.Status == "GONE" && op.Kind == "open" {
		return r // being ended: draw a new id
	}
	fenced := op.Fence != 0 && r.Status == "FENCED"
	if r.Status != "OK" && !fenced && !strings.Contains(" "+refusals[op.Kind]+" ", " "+r.Status+" ") {
		c.world.problem("%s %s: %d %s: %s", method, path, r.code, r.Status, r.Message)
		return nil
	}
	c.world.stats.answered(c.world.now(), writes && r.Status == "OK")
	if r.Status == "OK" {
		op.take(r)
		if writes {
			c.world.sprung(op.Kind, c.at)
		}
	}
	h.add(op)
	return r
}

func entries(of []wireEntry) []checkpoint {
	var list []checkpoint
	for _, e := range of {
		list = append(list, checkpoint{e.ID, e.Pointer, e.Properties.Type != "CHECKPOINT"})
	}
	return list
}

// take moves the answer into the operation, in the model's words.
func (op *operation) take(r *reply) {
	a := &op.Answer
	a.Revision = r.Revision
	switch op.Kind {
	case "close":
		a.Yes = r.Ended
	case "strike":
		a.To = r.Struck
	case "raise":
		a.To = r.NextID
	case "checkpoints":
		a.To, a.Checkpoints, a.Discards = r.NextID, entries(r.Checkpoints), entries(r.Discards)
	case "commit", "reserve":
		a.From, a.To, a.Subsumed = r.From, r.To, r.Subsumed
	case "leader":
		a.Leader, a.Session, a.Map = r.LeaderSession, strings.TrimPrefix(r.Holder, "jm-"), map[string]string{}
		for name, c := range r.Components {
			a.Map[name] = c.Address + "@" + short(c.LeaderSession)
		}
	case "graphs":
		a.Map = map[string]string{}
		for _, g := range r.Graphs {
			a.Map[modelJob(g.ID)] = shortDigest(g.Digest)
		}
	case "results":
		a.Map = map[string]string{}
		for _, result := range r.Results {
			a.Map[modelJob(result.ID)] = result.State + ":" + result.Result.V
		}
	case "graph":
		a.Tag = short(digest(r.body))
		a.Revision, _ = strconv.ParseUint(r.header.Get("Holdfast-Revision"), 10, 64)
	default:
		a.Yes = r.Removed
	}
}

func short(text string) string {
	if len(text) > 8 {
		return text[:8]
	}
	return text
}

func shortDigest(text string) string { return short(strings.TrimPrefix(text, "sha256=")) }

// Jobs are numbered in the model; on the wire they are 32 hex digits.
func wireJob(job string) string  { return strings.Repeat("0", 31) + strings.TrimPrefix(job, "j") }
func modelJob(job string) string { return "j" + strings.TrimLeft(job, "0") }

// counters of a run.
type counters struct {
	operations, ambiguous, notSent                 atomic.Int64
	faults                                         [faultCount]atomic.Int64
	kills, pauses, cuts, partitions, full, seconds atomic.Int64
	isolated, serverPauses, leaders, gaveUp        atomic.Int64
	sleepers                                       atomic.Int64
	lastAnswer, lastWrite                          atomic.Int64
	longestAnswer, longestWrite                    atomic.Int64
	statuses                                       syncCounts
}

func longest(max, last *atomic.Int64, now int64) {
	before := last.Swap(now)
	if before == 0 || now <= before {
		return
	}
	for {
		was := max.Load()
		if now-before <= was || max.CompareAndSwap(was, now-before) {
			return
		}
	}
}

func (s *counters) answered(now int64, write bool) {
	s.operations.Add(1)
	longest(&s.longestAnswer, &s.lastAnswer, now)
	if write {
		longest(&s.longestWrite, &s.lastWrite, now)
	}
}

func (s *counters) refused(status string) { s.statuses.add(status) }
