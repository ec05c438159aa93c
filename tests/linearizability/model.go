// The sequential model: what one cluster of Holdfast is, as clients see it (docs/protocol.md). A history is right when its
// operations can be put into one order, each at a moment between its call and its answer, in which this model gives the
// answers that were received.
package main

import (
	"fmt"
	"sort"
	"strings"
)

type sessionState int

const (
	absent sessionState = iota
	open
	ended
)

type checkpoint struct {
	ID        uint64 `json:"id"`
	Tag       string `json:"tag"` // its content
	Savepoint bool   `json:"savepoint,omitempty"`
}

type job struct {
	next        uint64 // id of the counter
	checkpoints []checkpoint
	discards    []checkpoint
	graph       string // content, "": none
	graphRev    uint64 // 0: written by a call whose answer was lost
	graphOld    bool   // stored before the tombstone
	result      string // content
	resultState string // "", "dirty", "clean", "tombstone"
}

// state is never changed once a step has returned it.
type state struct {
	revision   uint64 // the newest that is known to be written
	leader     string // leader session (UUID), "": none
	session    string // of the leader
	fence      uint64
	newest     uint64 // the newest fence that was ever granted
	sessions   map[string]sessionState
	components map[string]string
	jobs       map[string]*job
	text       string // canonical, made when it is first asked for
}

func newState() *state {
	return &state{sessions: map[string]sessionState{}, components: map[string]string{}, jobs: map[string]*job{}}
}

// copy is shallow in the jobs: a step that changes one uses edit.
func (s *state) copy() *state {
	next := *s
	next.text = ""
	next.sessions = make(map[string]sessionState, len(s.sessions)+1)
	for id, is := range s.sessions {
		next.sessions[id] = is
	}
	next.components = make(map[string]string, len(s.components)+1)
	for name, address := range s.components {
		next.components[name] = address
	}
	next.jobs = make(map[string]*job, len(s.jobs)+1)
	for id, j := range s.jobs {
		next.jobs[id] = j
	}
	return &next
}

func (s *state) job(id string) *job {
	if j := s.jobs[id]; j != nil {
		return j
	}
	return &job{next: 1}
}

func (s *state) edit(id string) *job {
	j := *s.job(id)
	j.checkpoints = append([]checkpoint(nil), j.checkpoints...)
	j.discards = append([]checkpoint(nil), j.discards...)
	s.jobs[id] = &j
	return &j
}

// end: of a session, with the leadership it holds.
func (s *state) end(session string) {
	s.sessions[session] = ended
	if s.leader != "" && s.session == session {
		s.leader, s.session, s.fence = "", "", 0
		s.components = map[string]string{}
	}
}

func (s *state) grant(session, leader string, fence uint64) bool {
	if s.sessions[session] != open || fence <= s.newest || fence <= s.revision {
		return false
	}
	if s.leader != "" {
		s.end(s.session) // the only way that a leadership ends
	}
	s.leader, s.session, s.fence, s.newest, s.revision = leader, session, fence, fence, fence
	s.components = map[string]string{}
	return true
}

func find(list []checkpoint, id uint64) int {
	for i := range list {
		if list[i].ID == id {
			return i
		}
	}
	return -1
}

func without(list []checkpoint, i int) []checkpoint {
	return append(append([]checkpoint(nil), list[:i]...), list[i+1:]...)
}

func with(list []checkpoint, c checkpoint) []checkpoint {
	list = append(append([]checkpoint(nil), list...), c)
	sort.Slice(list, func(a, b int) bool { return list[a].ID < list[b].ID })
	return list
}

// retain is Flink's CheckpointSubsumeHelper: which entries leave the list.
func retain(list []checkpoint, retained int) (stay, leave []checkpoint) {
	plain := -1
	for i := range list {
		if !list[i].Savepoint {
			plain = i
		}
	}
	left := len(list)
	for i, c := range list {
		if left > retained && i != len(list)-1 && i != plain {
			leave = append(leave, c)
			left--
		} else {
			stay = append(stay, c)
		}
	}
	return stay, leave
}

func (j *job) reserve(atLeast, count uint64) (from, to uint64, changed bool) {
	from = j.next
	if from < atLeast {
		from = atLeast
	}
	changed = from+count != j.next
	j.next = from + count
	if count > 0 {
		to = j.next - 1
	} else {
		from = 0
	}
	return from, to, changed
}

// strike looks at the discards from before the call: what a commit subsumes itself is not done yet.
func (j *job) strike(before []checkpoint, ids []uint64) (struck uint64) {
	for _, id := range ids {
		if find(before, id) >= 0 {
			j.discards = without(j.discards, find(j.discards, id))
			struck++
		}
	}
	return struck
}

func list(of []checkpoint) string {
	parts := make([]string, len(of))
	for i, c := range of {
		parts[i] = fmt.Sprintf("%d:%s", c.ID, c.Tag)
	}
	return strings.Join(parts, " ")
}

func sortedKeys(of map[string]string) []string {
	keys := make([]string, 0, len(of))
	for key := range of {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func mapText(of map[string]string) string {
	var parts []string
	for _, key := range sortedKeys(of) {
		parts = append(parts, key+"="+of[key])
	}
	return strings.Join(parts, " ")
}

func (j *job) String() string {
	return fmt.Sprintf("next %d, list [%s], discards [%s], graph %s@%d old=%v, result %s %s", j.next, list(j.checkpoints),
		list(j.discards), j.graph, j.graphRev, j.graphOld, j.result, j.resultState)
}

func (s *state) String() string {
	if s.text != "" {
		return s.text
	}
	var parts []string
	for id, is := range s.sessions {
		if is != absent {
			parts = append(parts, fmt.Sprintf("%.6s=%s", id, [...]string{"absent", "open", "ended"}[is]))
		}
	}
	sort.Strings(parts)
	jobs := map[string]string{}
	for id, j := range s.jobs {
		jobs[id] = j.String()
	}
	s.text = fmt.Sprintf("revision %d, leader %.8s fence %d newest %d, sessions {%s}, components {%s}, jobs {%s}", s.revision,
		s.leader, s.fence, s.newest, strings.Join(parts, " "), mapText(s.components), mapText(jobs))
	return s.text
}
