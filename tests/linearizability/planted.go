package main

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// The checker is worth nothing before it has found errors. Here are histories of a few calls that are right, each beside a
// similar one that is wrong. They are checked before every run.

// script writes a history: one call after the other, unless told otherwise.
type script struct {
	all []*operation
	now int64
}

// does adds a call that is over before the next one starts.
func (s *script) does(op operation) *script {
	op.Call, op.Return = s.now+1, s.now+2
	s.now += 2
	s.all = append(s.all, &op)
	return s
}

// during adds a call that began before the last `calls` calls and is answered now.
func (s *script) during(calls int64, op operation) *script {
	op.Call, op.Return = s.now-2*calls, s.now+1
	s.now++
	s.all = append(s.all, &op)
	return s
}

const ok = "OK"

func opened(session string, revision uint64) operation {
	return operation{Kind: "open", Session: session, Status: ok, Answer: answer{Revision: revision}}
}

func granted(session string, fence uint64) operation {
	return operation{Kind: "granted", Session: session, Leader: "leader-" + session, Status: ok, Answer: answer{Revision: fence}}
}

// as puts a write under the fence.
func as(session string, fence uint64, op operation) operation {
	op.Session, op.Fence, op.Job = session, fence, "j1"
	return op
}

// led is the beginning of all of them: a leads under fence 2.
func led() *script { return (&script{}).does(opened("a", 1)).does(granted("a", 2)) }

// follows: b leads under this fence.
func (s *script) follows(fence uint64) *script {
	return s.does(opened("b", fence-1)).does(granted("b", fence))
}

func committed(id, revision uint64, subsumed ...uint64) operation {
	return operation{Kind: "commit", ID: id, Tag: fmt.Sprintf("c%d", id), Retained: 1, Status: ok,
		Answer: answer{Revision: revision, Subsumed: subsumed}}
}

func listed(revision, next uint64, ids ...uint64) operation {
	op := operation{Kind: "checkpoints", Job: "j1", Status: ok, Answer: answer{Revision: revision, To: next}}
	for i, id := range ids {
		c := checkpoint{ID: id, Tag: fmt.Sprintf("c%d", id)}
		if i == len(ids)-1 {
			op.Answer.Checkpoints = []checkpoint{c}
		} else {
			op.Answer.Discards = append(op.Answer.Discards, c)
		}
	}
	return op
}

func seen(session string, revision uint64) operation {
	return operation{Kind: "leader", Status: ok, Answer: answer{Leader: "leader-" + session, Session: session, Revision: revision}}
}

func reserved(from, to, revision uint64) operation {
	return operation{Kind: "reserve", ID: to - from + 1, Status: ok, Answer: answer{From: from, To: to, Revision: revision}}
}

func lost(op operation) operation {
	op.Status, op.Answer = unknown, answer{}
	return op
}

func fencedOff(op operation) operation {
	op.Status, op.Answer = "FENCED", answer{}
	return op
}

func graphOf(tag string, revision uint64) operation {
	return operation{Kind: "graph", Job: "j1", Status: ok, Answer: answer{Tag: tag, Revision: revision}}
}

func putGraph(tag string, revision uint64) operation {
	return operation{Kind: "put graph", Tag: tag, If: "absent", Status: ok, Answer: answer{Revision: revision}}
}

func resultsOf(of map[string]string) operation {
	return operation{Kind: "results", Status: ok, Answer: answer{Map: of}}
}

func putResult(tag string, revision uint64) operation {
	return operation{Kind: "put result", Tag: tag, Status: ok, Answer: answer{Revision: revision}}
}

type pair struct {
	what       string
	right, bad *script
}

func a2(op operation) operation { return as("a", 2, op) }
func b9(op operation) operation { return as("b", 9, op) }

func pairs() []pair {
	return []pair{
		{"an acknowledged commit is lost", led().does(a2(committed(1, 3))).does(listed(3, 2, 1)),
			led().does(a2(committed(1, 3))).does(listed(3, 1))},
		{"it is lost in the restart after the next reader", led().does(a2(committed(1, 3))).does(listed(3, 2, 1)).does(listed(4, 2, 1)),
			led().does(a2(committed(1, 3))).does(listed(3, 2, 1)).does(listed(4, 1))},
		{"a lost answer's write is there, then not", led().does(a2(lost(committed(1, 3)))).does(listed(3, 2, 1)).does(listed(4, 2, 1)),
			led().does(a2(lost(committed(1, 3)))).does(listed(3, 2, 1)).does(listed(4, 1))},
		{"a lost write appears after its fence is over", led().does(a2(lost(committed(1, 3)))).follows(9).does(listed(9, 1)).does(listed(10, 1)),
			led().does(a2(lost(committed(1, 3)))).follows(9).does(listed(9, 1)).does(listed(10, 2, 1))},
		{"a write is acknowledged under a fence that is over", led().follows(9).does(a2(fencedOff(committed(1, 10)))).does(b9(committed(1, 10))),
			led().follows(9).does(a2(committed(1, 10))).does(b9(committed(1, 10)))},
		{"a fence is refused and then holds", led().does(a2(committed(1, 3))).does(a2(fencedOff(committed(2, 4)))).does(a2(fencedOff(committed(2, 4)))),
			led().does(a2(fencedOff(committed(1, 3)))).does(a2(committed(2, 4, 1)))},
		{"an id is handed out twice", led().does(a2(reserved(1, 4, 3))).does(a2(reserved(5, 8, 4))),
			led().does(a2(reserved(1, 4, 3))).does(a2(reserved(1, 4, 4)))},
		{"an id is handed out again by the next leader", led().does(a2(reserved(1, 4, 3))).follows(9).does(b9(reserved(5, 6, 10))),
			led().does(a2(reserved(1, 4, 3))).follows(9).does(b9(reserved(3, 4, 10)))},
		{"a repeated reserve is applied once too often", led().does(a2(lost(reserved(1, 4, 3)))).does(a2(reserved(5, 8, 4))),
			led().does(a2(lost(reserved(1, 4, 3)))).does(a2(reserved(9, 12, 4)))},
		{"two checkpoints are retained where one is asked for", led().does(a2(committed(1, 3))).does(a2(committed(2, 4, 1))),
			led().does(a2(committed(1, 3))).does(a2(committed(2, 4)))},
		{"a subsumed checkpoint becomes no discard", led().does(a2(committed(1, 3))).does(a2(committed(2, 4, 1))).does(listed(4, 3, 1, 2)),
			led().does(a2(committed(1, 3))).does(a2(committed(2, 4, 1))).does(listed(4, 3, 2))},
		{"a read is stale", led().does(a2(committed(1, 3))).during(1, listed(2, 1)),
			led().does(a2(committed(1, 3))).does(listed(2, 1))},
		{"a read is older than the read before it", led().does(listed(2, 1)).during(2, a2(committed(1, 3))).does(listed(3, 2, 1)),
			led().does(a2(lost(committed(1, 3)))).does(listed(3, 2, 1)).during(1, listed(2, 1)).does(listed(2, 1))},
		{"two leaders at once", led().follows(9), led().follows(9).does(a2(committed(1, 10)))},
		{"a fence is lower than the one before", led().does(opened("b", 3)).does(granted("b", 4)),
			led().does(opened("b", 3)).does(granted("b", 1))},
		{"a leader is seen that nobody could be told of", led().does(opened("b", 8)).does(listed(10, 1)).does(seen("b", 9)),
			led().does(opened("b", 8)).does(listed(10, 1)).does(seen("b", 1))},
		{"a session leads that was closed", led().does(operation{Kind: "close", Session: "a", Status: ok, Answer: answer{Yes: true}}),
			led().does(operation{Kind: "close", Session: "a", Status: ok, Answer: answer{Yes: true}}).
				does(operation{Kind: "leader", Status: ok, Answer: answer{Leader: "leader-a", Session: "a", Revision: 2}})},
		{"a session is gone and is renewed again", led().does(operation{Kind: "renew", Session: "a", Status: ok}).
			does(operation{Kind: "renew", Session: "a", Status: "GONE"}),
			led().does(operation{Kind: "renew", Session: "a", Status: "GONE"}).does(operation{Kind: "renew", Session: "a", Status: ok})},
		{"a graph has other content", led().does(a2(putGraph("g1", 3))).does(graphOf("g1", 3)),
			led().does(a2(putGraph("g1", 3))).does(graphOf("g2", 3))},
		{"another graph replaces one that was to be absent", led().does(a2(putGraph("g1", 3))).
			does(a2(operation{Kind: "put graph", Tag: "g2", If: "absent", Status: "EXISTS"})),
			led().does(a2(putGraph("g1", 3))).does(a2(putGraph("g2", 4)))},
		{"a result is lost", led().does(a2(putResult("r1", 3))).does(resultsOf(map[string]string{"j1": "dirty:r1"})),
			led().does(a2(putResult("r1", 3))).does(resultsOf(nil))},
		{"a published address outlives its leader", led().does(as("a", 2, operation{Kind: "publish", Name: "rest", Tag: "x", Status: ok,
			Answer: answer{Revision: 3}})).follows(9).does(operation{Kind: "leader", Status: ok,
			Answer: answer{Leader: "leader-b", Session: "b", Revision: 9}}),
			led().does(as("a", 2, operation{Kind: "publish", Name: "rest", Tag: "x", Status: ok,
				Answer: answer{Revision: 3}})).follows(9).does(operation{Kind: "leader", Status: ok,
				Answer: answer{Leader: "leader-b", Session: "b", Revision: 9, Map: map[string]string{"rest": "x"}}})},
		{"the revision does not grow", led().does(a2(committed(1, 3))).does(a2(committed(2, 4, 1))),
			led().does(a2(committed(1, 4))).does(a2(committed(2, 3, 1)))},
	}
}

// plantedByHand: every pair is told apart.
func plantedByHand() error {
	all := pairs()
	for _, p := range all {
		if got := check(p.right.all, time.Minute); got != porcupine.Ok {
			return fmt.Errorf("self-test: %q: the right history beside it is %s", p.what, got)
		}
		if got := check(p.bad.all, time.Minute); got != porcupine.Illegal {
			return fmt.Errorf("self-test: %q is not found: %s", p.what, got)
		}
	}
	fmt.Printf("%d planted errors found, the right histories beside them accepted\n", len(all))
	return nil
}
