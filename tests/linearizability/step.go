package main

import "reflect"

// operation is one call of one client. What was asked for and what came back lie side by side, as the model sees them.
type operation struct {
	Client  int    `json:"client"`
	Call    int64  `json:"call_ns"`   // since the start of the run
	Return  int64  `json:"return_ns"` // openEnd: it may still happen
	Kind    string `json:"kind"`
	Session string `json:"session,omitempty"`
	Fence   uint64 `json:"fence,omitempty"` // 0: not fenced
	Leader  string `json:"leader,omitempty"`
	Job     string `json:"job,omitempty"`
	Name    string `json:"name,omitempty"` // component, or state of results that is asked for
	Tag     string `json:"tag,omitempty"`  // content
	ID      uint64 `json:"id,omitempty"`   // checkpoint, or number of ids, or bound of the counter
	// Of a commit.
	Savepoint bool     `json:"savepoint,omitempty"`
	Retained  int      `json:"retained,omitempty"`
	Struck    []uint64 `json:"strike,omitempty"`
	Reserve   uint64   `json:"reserve,omitempty"`
	If        string   `json:"if,omitempty"` // of a graph: absent, any, revision
	IfRev     uint64   `json:"if_revision,omitempty"`
	Keep      bool     `json:"keep,omitempty"`

	Status string `json:"status"` // OK, a refusal, or unknown
	Answer answer `json:"answer"`
	note   string // for people, in the dump of a history
}

type answer struct {
	Revision    uint64            `json:"revision,omitempty"`
	Yes         bool              `json:"yes,omitempty"` // ended, removed
	From        uint64            `json:"from,omitempty"`
	To          uint64            `json:"to,omitempty"` // also next_id and struck
	Subsumed    []uint64          `json:"subsumed,omitempty"`
	Checkpoints []checkpoint      `json:"checkpoints,omitempty"`
	Discards    []checkpoint      `json:"discards,omitempty"`
	Leader      string            `json:"leader,omitempty"`
	Session     string            `json:"session,omitempty"`
	Map         map[string]string `json:"map,omitempty"` // components, graphs or results
	Tag         string            `json:"tag,omitempty"`
}

const (
	unknown       = "unknown"
	openEnd int64 = 1 << 62
)

// sees: an answer that carries the revision at which it was true.
func (s *state) sees(revision uint64) bool {
	if revision < s.revision {
		return false
	}
	s.revision = revision
	return true
}

// wrote: an answer of a call that changed something, or found that there was nothing to change.
func (s *state) wrote(op *operation, changed bool) bool {
	if op.Status == unknown {
		return true
	}
	if changed && op.Answer.Revision <= s.revision {
		return false
	}
	return s.sees(op.Answer.Revision)
}

// step changes a copy of the state that belongs to it; false: this answer cannot be given here.
func (s *state) step(op *operation) bool {
	if op.Fence != 0 {
		leads := s.leader != "" && s.session == op.Session && s.fence == op.Fence
		switch {
		case op.Status == unknown && !leads:
			return true // refused, or not yet arrived: nothing happens
		case op.Status == "FENCED" && leads:
			s.end(op.Session) // a session may end at any time; it does not come back
			return true
		case op.Status == "FENCED":
			return true
		case !leads:
			return false
		}
		return s.fenced(op)
	}
	switch op.Kind {
	case "open":
		was := s.sessions[op.Session]
		s.sessions[op.Session] = open
		return s.wrote(op, was != open)
	case "renew":
		if op.Status == "GONE" {
			if s.sessions[op.Session] == open {
				s.end(op.Session)
			}
			return true
		}
		return s.sessions[op.Session] == open
	case "close":
		was := s.sessions[op.Session]
		if was == open {
			s.end(op.Session)
		}
		return op.Status == unknown || !op.Answer.Yes || was == open
	case "granted":
		return s.grant(op.Session, op.Leader, op.Answer.Revision)
	case "leader":
		return s.readLeader(&op.Answer)
	case "checkpoints":
		j := s.job(op.Job)
		return s.sees(op.Answer.Revision) && j.next == op.Answer.To && same(j.checkpoints, op.Answer.Checkpoints) &&
			same(j.discards, op.Answer.Discards)
	case "graphs":
		return s.readGraphs(op.Answer.Map)
	case "graph":
		j := s.job(op.Job)
		return j.graph == op.Answer.Tag && s.learn(op.Job, j, op.Answer.Revision)
	case "results":
		return reflect.DeepEqual(s.results(op.Name), notNil(op.Answer.Map))
	}
	panic("no such operation: " + op.Kind)
}

func notNil(of map[string]string) map[string]string {
	if of == nil {
		return map[string]string{}
	}
	return of
}

func same(a, b []checkpoint) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (s *state) readLeader(a *answer) bool {
	if a.Leader == "" {
		if s.leader != "" {
			s.end(s.session)
		}
		return len(a.Map) == 0
	}
	return a.Leader == s.leader && a.Session == s.session && a.Revision >= s.fence && reflect.DeepEqual(s.components, notNil(a.Map))
}

// learn takes over a revision that only the answer of a lost call would have told.
func (s *state) learn(id string, j *job, revision uint64) bool {
	if j.graph == "" || j.graphRev == revision {
		return true
	}
	if j.graphRev != 0 {
		return false
	}
	s.edit(id).graphRev = revision
	return true
}

func (s *state) results(wanted string) map[string]string {
	all := map[string]string{}
	for id, j := range s.jobs {
		if (j.resultState == "dirty" || j.resultState == "clean") && (wanted == "" || wanted == j.resultState) {
			all[id] = j.resultState + ":" + j.result
		}
	}
	return all
}

func (s *state) readGraphs(listed map[string]string) bool {
	count := 0
	for id, j := range s.jobs {
		ended := j.resultState != "" && (j.resultState != "tombstone" || j.graphOld)
		if j.graph == "" || ended {
			continue
		}
		count++
		if listed[id] != j.graph {
			return false
		}
	}
	return count == len(listed)
}

// fenced: a write under the fence that leads.
func (s *state) fenced(op *operation) bool {
	switch op.Kind {
	case "publish":
		changed := s.components[op.Name] != op.Tag
		s.components[op.Name] = op.Tag
		return s.wrote(op, changed)
	case "withdraw":
		_, there := s.components[op.Name]
		delete(s.components, op.Name)
		return (op.Status == unknown || op.Answer.Yes == there) && s.wrote(op, there)
	}
	j := s.edit(op.Job)
	switch op.Kind {
	case "commit":
		return s.commit(op, j)
	case "remove checkpoint":
		at := find(j.checkpoints, op.ID)
		if at >= 0 {
			if !j.checkpoints[at].Savepoint {
				j.discards = with(j.discards, j.checkpoints[at])
			}
			j.checkpoints = without(j.checkpoints, at)
		}
		return (op.Status == unknown || op.Answer.Yes == (at >= 0)) && s.wrote(op, at >= 0)
	case "strike":
		struck := j.strike(j.discards, op.Struck)
		return (op.Status == unknown || op.Answer.To == struck) && s.wrote(op, struck > 0)
	case "reserve":
		from, to, changed := j.reserve(1, op.ID)
		return (op.Status == unknown || op.Answer.From == from && op.Answer.To == to) && s.wrote(op, changed)
	case "raise":
		_, _, changed := j.reserve(op.ID, 0)
		return (op.Status == unknown || op.Answer.To == j.next) && s.wrote(op, changed)
	case "put graph":
		return s.putGraph(op, j)
	case "remove graph":
		there := j.graph != ""
		j.graph, j.graphRev, j.graphOld = "", 0, false
		return (op.Status == unknown || op.Answer.Yes == there) && s.wrote(op, there)
	case "put result":
		return s.putResult(op, j)
	case "clean result":
		return s.cleanResult(op, j)
	}
	panic("no such operation: " + op.Kind)
}

func refused(op *operation, with string) bool { return op.Status == unknown || op.Status == with }
func done(op *operation) bool                 { return op.Status == unknown || op.Status == "OK" }

func sameIDs(of []checkpoint, ids []uint64) bool {
	if len(of) != len(ids) {
		return false
	}
	for i := range of {
		if of[i].ID != ids[i] {
			return false
		}
	}
	return true
}

func (s *state) commit(op *operation, j *job) bool {
	entry := checkpoint{op.ID, op.Tag, op.Savepoint}
	before, changed := j.discards, false
	var leave []checkpoint

	if at := find(j.discards, op.ID); at >= 0 {
		if j.discards[at] != entry {
			return refused(op, "EXISTS")
		}
	} else {
		at := find(j.checkpoints, op.ID)
		if at >= 0 && j.checkpoints[at] != entry {
			return refused(op, "EXISTS")
		}
		if at < 0 {
			j.checkpoints = with(j.checkpoints, entry)
			changed = true
		}
		if op.Retained > 0 {
			j.checkpoints, leave = retain(j.checkpoints, op.Retained)
		}
		for _, c := range leave {
			changed = true
			if !c.Savepoint {
				j.discards = with(j.discards, c)
			}
		}
	}
	changed = j.strike(before, op.Struck) > 0 || changed
	from, to, moved := j.reserve(op.ID+1, op.Reserve)
	if op.Status == unknown {
		return true
	}
	return op.Status == "OK" && sameIDs(leave, op.Answer.Subsumed) && from == op.Answer.From && to == op.Answer.To &&
		s.wrote(op, changed || moved)
}

func (s *state) putGraph(op *operation, j *job) bool {
	switch {
	case op.If == "revision" && j.graph == "":
		return refused(op, "NOT_FOUND")
	case j.graph == op.Tag:
		return done(op) && s.wrote(op, false)
	case op.If == "absent" && j.graph != "":
		return refused(op, "EXISTS")
	case op.If == "revision" && j.graphRev != op.IfRev && j.graphRev != 0:
		return refused(op, "CONFLICT")
	case op.If == "revision" && j.graphRev == 0 && op.Status == "CONFLICT":
		return true // a revision that nobody was told
	}
	if j.graph == "" {
		j.graphOld = false
	}
	j.graph, j.graphRev = op.Tag, op.Answer.Revision
	return done(op) && s.wrote(op, true)
}

func (s *state) putResult(op *operation, j *job) bool {
	if j.resultState == "dirty" && j.result == op.Tag {
		return done(op) && s.wrote(op, false)
	}
	if j.resultState == "dirty" || j.resultState == "clean" {
		return refused(op, "EXISTS")
	}
	j.result, j.resultState = op.Tag, "dirty"
	return done(op) && s.wrote(op, true)
}

func (s *state) cleanResult(op *operation, j *job) bool {
	to := "tombstone"
	if op.Keep {
		to = "clean"
	}
	if j.resultState == "" {
		return refused(op, "NOT_FOUND")
	}
	if j.resultState == to || j.resultState == "tombstone" { // it has nothing left to keep
		return done(op) && s.wrote(op, false)
	}
	if to == "tombstone" {
		j.result, j.graphOld = "", j.graph != ""
	}
	j.resultState = to
	return done(op) && s.wrote(op, true)
}
