package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// history is what all clients of one cluster have seen.
type history struct {
	name    string
	mutex   sync.Mutex
	all     []*operation
	unasked map[string]bool // leaderships whose grant was received already
	certain int             // answers that no call without an answer could excuse, had they been others
}

func newHistory(name string) *history {
	return &history{name: name, unasked: map[string]bool{}}
}

func (h *history) add(op *operation) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if op.Kind == "granted" {
		if h.unasked[op.Leader] {
			return // told again after a reconnect
		}
		h.unasked[op.Leader] = true
	}
	h.all = append(h.all, op)
}

// proves: after this answer nothing can be written under the fence (of the session) any more.
func (op *operation) proves(session string, fence uint64) bool {
	switch {
	case op.Status == unknown:
		return false
	case op.Kind == "granted":
		return op.Answer.Revision > fence
	case op.Fence != 0 && op.Status == "FENCED":
		return op.Fence == fence
	case op.Fence != 0:
		return op.Fence > fence
	case op.Kind == "close", op.Kind == "renew" && op.Status == "GONE":
		return op.Session == session
	}
	return false
}

// untold makes the grants that no client was told of, but that a reader has seen in the leader map. Nobody can have published
// under such a one, so that the map's revision is that of the grant.
func untold(all []*operation) (grants []*operation) {
	known := map[string]bool{}
	for _, op := range all {
		if op.Kind == "granted" {
			known[op.Leader] = true
		}
	}
	opened := map[string]int64{}
	seen := map[string]*operation{}
	for _, op := range all {
		if call, there := opened[op.Session]; op.Kind == "open" && (!there || op.Call < call) {
			opened[op.Session] = op.Call
		}
		a := &op.Answer
		if op.Kind != "leader" || a.Leader == "" || known[a.Leader] {
			continue
		}
		if seen[a.Leader] == nil {
			seen[a.Leader] = &operation{Client: 1000000 + len(grants), Kind: "granted", Session: a.Session, Leader: a.Leader,
				Status: "OK", Return: op.Return, Answer: answer{Revision: a.Revision}}
			grants = append(grants, seen[a.Leader])
		}
		seen[a.Leader].Return = min(seen[a.Leader].Return, op.Return)
	}
	for _, op := range grants {
		op.Call = opened[op.Session]
	}
	return grants
}

// prepare bounds what is open: a lost write under a fence has no effect once that fence is known to be over, so that its
// place is before that or irrelevant. Without this the checker would have to try it at every later moment.
func prepare(all []*operation) []*operation {
	all = append(append([]*operation(nil), all...), untold(all)...)
	var ready []*operation
	for _, op := range all {
		if op.Kind == "close" && op.Status == unknown {
			continue // sessions may end at any time anyway
		}
		copied := *op
		if op.Status == unknown {
			copied.Return = openEnd
			for _, other := range all {
				if op.Fence != 0 && other.Return < copied.Return && other.proves(op.Session, op.Fence) {
					copied.Return = other.Return
				}
			}
			if copied.Return < op.Call {
				continue
			}
		}
		ready = append(ready, &copied)
	}
	return ready
}

// at is the global revision that an answer carries, 0: none. Revisions only grow, so that they order operations.
func (op *operation) at() uint64 {
	switch {
	case op.Status != "OK", op.Kind == "leader", op.Kind == "graph", op.Kind == "graphs", op.Kind == "results":
		return 0
	}
	return op.Answer.Revision
}

// narrow uses that order: what has a smaller revision took place before, so that an operation cannot have taken place
// before the call of the other, nor the other after the return of this one. It leaves fewer orders to try, and excludes
// none that is right. An operation whose time is then empty is an error already.
func narrow(ready []*operation) (contradiction *operation) {
	var ordered []*operation
	for _, op := range ready {
		if op.at() != 0 {
			ordered = append(ordered, op)
		}
	}
	sort.SliceStable(ordered, func(a, b int) bool { return ordered[a].at() < ordered[b].at() })
	latest, pending := int64(0), int64(0)
	for i, op := range ordered {
		if i > 0 && op.at() > ordered[i-1].at() {
			latest = pending
		}
		pending = max(pending, op.Call)
		op.Call = max(op.Call, latest)
	}
	earliest, pending := openEnd, openEnd
	for i := len(ordered) - 1; i >= 0; i-- {
		op := ordered[i]
		if i+1 < len(ordered) && op.at() < ordered[i+1].at() {
			earliest = pending
		}
		pending = min(pending, op.Return)
		op.Return = min(op.Return, earliest)
		if op.Call > op.Return {
			contradiction = op
		}
	}
	return contradiction
}

func max(a, b int64) int64 {
	if a > b {
		return a
	}
	return b
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func (op *operation) String() string {
	var what []string
	say := func(format string, args ...interface{}) { what = append(what, fmt.Sprintf(format, args...)) }
	say("%s", op.Kind)
	if op.Fence != 0 {
		say("fence %d", op.Fence)
	} else if op.Session != "" {
		say("session %.6s", op.Session)
	}
	for _, text := range []string{op.Job, op.Name, op.Tag, op.If} {
		if text != "" {
			say("%s", text)
		}
	}
	if op.ID != 0 {
		say("%d", op.ID)
	}
	if op.Kind == "commit" {
		say("retain %d strike %v reserve %d savepoint=%v", op.Retained, op.Struck, op.Reserve, op.Savepoint)
	}
	if op.IfRev != 0 {
		say("@%d", op.IfRev)
	}
	if op.Keep {
		say("keep")
	}
	say("-> %s", op.Status)
	if op.Status == "OK" {
		text, _ := json.Marshal(op.Answer)
		say("%s", text)
	}
	return strings.Join(what, " ")
}

func model() porcupine.Model {
	return porcupine.Model{
		Init: func() interface{} { return newState() },
		Step: func(at, input, output interface{}) (bool, interface{}) {
			next := at.(*state).copy()
			return next.step(input.(*operation)), next
		},
		Equal: func(a, b interface{}) bool {
			return a == b || a.(*state).String() == b.(*state).String()
		},
		DescribeOperation: func(input, output interface{}) string { return input.(*operation).String() },
		DescribeState:     func(s interface{}) string { return s.(*state).String() },
	}
}

func events(ready []*operation) []porcupine.Operation {
	var list []porcupine.Operation
	for _, op := range ready {
		list = append(list, porcupine.Operation{ClientId: op.Client, Input: op, Output: op, Call: op.Call, Return: op.Return})
	}
	return list
}

// check: is there an order? patience bounds the search.
func check(all []*operation, patience time.Duration) porcupine.CheckResult {
	ready := prepare(all)
	if narrow(ready) != nil {
		return porcupine.Illegal
	}
	return porcupine.CheckOperationsTimeout(model(), events(ready), patience)
}

// explain says in text where the longest order that was found ends.
func explain(ready []*operation, info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	var out strings.Builder
	placed := map[*operation]bool{}
	s := newState()
	line := func(op *operation) {
		fmt.Fprintf(&out, "  %12.3f to %12.3f ms, client %d: %s\n", float64(op.Call)/1e6, float64(op.Return)/1e6, op.Client, op)
	}
	fmt.Fprintf(&out, "%d of %d operations can be put into an order. The end of it:\n", len(longest), len(ready))
	for i, o := range longest {
		op := o.Input.(*operation)
		placed[op] = true
		s = s.copy()
		s.step(op)
		if i >= len(longest)-15 {
			line(op)
		}
	}
	fmt.Fprintf(&out, "The state then: %s\nNext would have to come:\n", s)
	var left []*operation
	for _, op := range ready {
		if !placed[op] {
			left = append(left, op)
		}
	}
	sort.Slice(left, func(a, b int) bool { return left[a].Return < left[b].Return })
	for i := 0; i < len(left) && i < 10; i++ {
		line(left[i])
	}
	return out.String()
}

// dump writes a history that has no order, for people: as JSON, as porcupine's picture of how far it got, and in words.
func dump(h *history, folder string, patience time.Duration) (string, error) {
	at := filepath.Join(folder, h.name)
	text, err := json.MarshalIndent(h.all, "", " ")
	if err != nil {
		return at, err
	}
	if err := os.WriteFile(at+".json", text, 0o644); err != nil {
		return at, err
	}
	ready := prepare(h.all)
	if op := narrow(ready); op != nil {
		return at, os.WriteFile(at+".txt", []byte("its revision contradicts the time: "+op.String()+"\n"), 0o644)
	}
	_, info := porcupine.CheckOperationsVerbose(model(), events(ready), patience)
	if err := os.WriteFile(at+".txt", []byte(explain(ready, info)), 0o644); err != nil {
		return at, err
	}
	return at, porcupine.VisualizePath(model(), info, at+".html")
}

// replay checks a history that was dumped earlier.
func replay(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	h := newHistory(strings.TrimSuffix(filepath.Base(path), ".json") + "-again")
	if err := json.Unmarshal(text, &h.all); err != nil {
		return err
	}
	result := check(h.all, time.Minute)
	fmt.Printf("%d operations: %s\n", len(h.all), result)
	if result == porcupine.Ok {
		return nil
	}
	at, err := dump(h, ".", time.Minute)
	if err != nil {
		return err
	}
	return fmt.Errorf("no order explains it; see %s.txt, .html", at)
}
