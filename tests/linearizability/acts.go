package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (m *manager) job() string { return fmt.Sprintf("j%d", 1+m.dice.Intn(jobs)) }

func (m *manager) fenced(op *operation) *operation {
	op.Session, op.Fence = m.session, m.with
	return op
}

// write makes a fenced call, and most often once more when its outcome is unknown: that is what clients do.
func (m *manager) write(op *operation, method, path string, header http.Header, body []byte) *reply {
	for {
		ready := *m.fenced(op)
		r := m.call(m.cluster.history, &ready, true, method, m.base()+path, header, body)
		if r != nil && r.Status == "FENCED" {
			m.refused++
			m.lost(&ready)
		}
		if ready.Status != unknown || m.dice.Intn(10) < 3 || m.cluster.over() {
			return r
		}
		m.nap()
	}
}

func (m *manager) send(op *operation, method, path string, body interface{}) *reply {
	var text []byte
	content := ""
	if body != nil {
		text, _ = json.Marshal(body)
		content = jsonBody
	}
	return m.write(op, method, path, m.head(content, true), text)
}

type fields map[string]interface{}

// act does one thing, drawn at random.
func (m *manager) act() {
	if leader, fence := m.granted(); fence != 0 {
		m.with, m.under = fence, leader
	}
	switch drawn := m.dice.Intn(1000); {
	case drawn < 8:
		m.leave(true)
		return
	case drawn < 11:
		m.leave(false) // as if killed: the connection closes
		return
	case drawn < 14:
		m.world.pause(ttl + ttl/3) // as if paused
		return
	case drawn < 20:
		m.dropStream()
		return
	}
	if m.refused > 4 {
		m.leave(false)
		return
	}
	if m.with == 0 {
		m.read(m.job())
		return
	}
	m.writeSomething(m.dice.Intn(100))
}

func (m *manager) dropStream() {
	m.mutex.Lock()
	l := m.stream
	m.void = true
	m.mutex.Unlock()
	if l != nil {
		l.cutNow()
	}
}

func (m *manager) writeSomething(drawn int) {
	id := m.job()
	job := "/jobs/" + wireJob(id)
	switch {
	case drawn < 34:
		m.commit(id, job)
	case drawn < 40:
		count := uint64(1 + m.dice.Intn(8))
		if r := m.send(&operation{Kind: "reserve", Job: id, ID: count}, "POST", job+"/counter/reserve", fields{"count": count}); r != nil {
			m.reserved(r)
		}
	case drawn < 42:
		to := uint64(1 + m.dice.Intn(200))
		m.send(&operation{Kind: "raise", Job: id, ID: to}, "POST", job+"/counter/raise", fields{"to": to})
	case drawn < 48:
		ids := []uint64{m.oldID(), 1000000}
		m.send(&operation{Kind: "strike", Job: id, Struck: ids}, "POST", job+"/discards/done", fields{"ids": ids})
	case drawn < 51:
		remove := m.oldID()
		m.send(&operation{Kind: "remove checkpoint", Job: id, ID: remove}, "DELETE", fmt.Sprintf("%s/checkpoints/%d", job, remove), nil)
	case drawn < 59:
		m.putGraph(id)
	case drawn < 63:
		m.send(&operation{Kind: "remove graph", Job: id}, "DELETE", "/graphs/"+wireJob(id), nil)
	case drawn < 66:
		tag := m.tag("r")
		m.send(&operation{Kind: "put result", Job: id, Tag: tag}, "PUT", "/results/"+wireJob(id), fields{"result": fields{"v": tag}})
	case drawn < 70:
		keep := m.dice.Intn(4) == 0
		m.send(&operation{Kind: "clean result", Job: id, Keep: keep}, "POST", "/results/"+wireJob(id)+"/clean", fields{"keep": keep})
	case drawn < 78:
		m.publish()
	case drawn < 80:
		name := m.component()
		m.send(&operation{Kind: "withdraw", Name: name}, "DELETE", "/leader/"+name, nil)
	default:
		m.read(id)
	}
}

func (m *manager) component() string { return []string{"dispatcher", "rest"}[m.dice.Intn(2)] }

func (m *manager) publish() {
	name, address := m.component(), m.tag("a")
	m.send(&operation{Kind: "publish", Name: name, Tag: address + "@" + short(m.under)}, "PUT", "/leader/"+name,
		fields{"leader_session": m.under, "address": address})
}

func (m *manager) reserved(r *reply) {
	if r.Status != "OK" || r.To == 0 {
		return
	}
	m.ids = m.ids[:0]
	for id := r.From; id <= r.To; id++ {
		m.ids = append(m.ids, id)
	}
}

// oldID is one that may have been used.
func (m *manager) oldID() uint64 {
	if m.last == nil {
		return 1
	}
	back := uint64(m.dice.Intn(4))
	if m.last.ID <= back {
		return 1
	}
	return m.last.ID - back
}

func (m *manager) commit(id, job string) {
	if m.last != nil && m.last.Job == id && m.dice.Intn(12) == 0 {
		again := *m.last // the same content once more: success, or fenced
		m.write(&again, "POST", job+"/checkpoints", m.head(jsonBody, true), m.lastIn)
		return
	}
	op := &operation{Kind: "commit", Job: id, Tag: m.tag("c"), Savepoint: m.dice.Intn(8) == 0, Retained: m.dice.Intn(4)}
	switch {
	case m.dice.Intn(10) == 0:
		op.ID = m.oldID() // other content under an id that is taken, perhaps
	case len(m.ids) > 0:
		op.ID, m.ids = m.ids[0], m.ids[1:]
	default:
		op.ID = m.oldID() + 5
	}
	if len(m.ids) < 2 {
		op.Reserve = uint64(1 + m.dice.Intn(4))
	}
	if m.dice.Intn(2) == 0 {
		op.Struck = []uint64{m.oldID()}
	}
	kind, when := "CHECKPOINT", []string{"subsumed", "finished"}
	if op.Savepoint {
		kind, when = "SAVEPOINT", []string{}
	}
	body, _ := json.Marshal(fields{"id": op.ID, "pointer": op.Tag, "started_ms": 1, "completed_ms": 2, "size": 3,
		"properties":   fields{"type": kind, "discard_on": when},
		"num_retained": op.Retained, "discarded": op.Struck, "reserve": op.Reserve})
	m.last, m.lastIn = op, body
	if r := m.write(op, "POST", job+"/checkpoints", m.head(jsonBody, true), body); r != nil {
		m.reserved(r)
	}
}

func (m *manager) putGraph(id string) {
	content := []byte(m.tag("g") + strings.Repeat("x", m.dice.Intn(3000)))
	op := &operation{Kind: "put graph", Job: id, Tag: short(digest(content)), If: "absent"}
	header := m.head(octetBody, true)
	switch m.dice.Intn(3) {
	case 0:
		op.If = "any"
		header.Set("Holdfast-If", "any")
	case 1:
		if r := m.readGraph(id); r != nil && r.Status == "OK" {
			revision := r.header.Get("Holdfast-Revision")
			op.If = "revision"
			op.IfRev, _ = strconv.ParseUint(revision, 10, 64)
			header.Set("Holdfast-If", "revision="+revision)
		}
	}
	m.write(op, "PUT", "/graphs/"+wireJob(id), header, content)
}

func (c *caller) get(h *history, op *operation, path string) *reply {
	return c.call(h, op, false, "GET", "/v1/clusters/lin/"+h.name+path, http.Header{}, nil)
}

func (m *manager) readGraph(id string) *reply { return m.caller.readGraph(m.cluster.history, id) }

func (c *caller) readGraph(h *history, id string) *reply {
	return c.get(h, &operation{Kind: "graph", Job: id}, "/graphs/"+wireJob(id))
}

func (m *manager) read(id string) { m.caller.read(m.cluster.history, id, m.dice.Intn(10)) }

// read asks for something. nil: no answer, or one that says nothing.
func (c *caller) read(h *history, id string, drawn int) *reply {
	switch {
	case drawn < 4:
		return c.get(h, &operation{Kind: "checkpoints", Job: id}, "/jobs/"+wireJob(id)+"/checkpoints")
	case drawn < 6:
		return c.get(h, &operation{Kind: "leader"}, "/leader")
	case drawn < 7:
		return c.get(h, &operation{Kind: "graphs"}, "/graphs")
	case drawn < 8:
		return c.readGraph(h, id)
	case drawn < 9:
		return c.get(h, &operation{Kind: "results"}, "/results")
	default:
		return c.get(h, &operation{Kind: "results", Name: "dirty"}, "/results?state=dirty")
	}
}

// settle reads everything once more, however long it takes: an acknowledged write that is lost shows at the latest here.
func (c *caller) settle(h *history) bool {
	c.faults = 0
	bound := time.Now().Add(time.Minute)
	for _, drawn := range []int{4, 6, 8} {
		for c.read(h, "j1", drawn) == nil {
			if time.Now().After(bound) {
				return false
			}
		}
	}
	for number := 1; number <= jobs; number++ {
		id := fmt.Sprintf("j%d", number)
		for c.read(h, id, 0) == nil || c.read(h, id, 7) == nil {
			if time.Now().After(bound) {
				return false
			}
		}
	}
	return true
}
