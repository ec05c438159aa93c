package main

import (
	"fmt"
	"math/rand"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// The second half of the checker's proof: histories of this run that were found right get one wrong answer each, and must
// then be found wrong. Only such answers are changed that no call without an answer could excuse.

// certain: no call without an answer touches what this one tells.
func certain(all []*operation, op *operation) bool {
	for _, other := range all {
		if other.Status == unknown && (other.Job == op.Job || op.Job == "" || other.Job == "") {
			return false
		}
	}
	return true
}

// mutation changes one answer; it returns nil when the operation is none of its kind.
type mutation struct {
	what string
	do   func(all []*operation, at int) *operation
}

// before finds an earlier operation like this one, the nearest first.
func before(all []*operation, op *operation, fits func(*operation) bool) *operation {
	for i := len(all) - 1; i >= 0; i-- {
		other := all[i]
		if other.Kind == op.Kind && other.Job == op.Job && other.Status == ok && other.Return < op.Call && fits(other) {
			return other
		}
	}
	return nil
}

// wrote: an answer that says that something was written, as the revision shows.
func wrote(op *operation) bool {
	return op.Fence != 0 && op.Status == ok && op.Answer.Revision > op.Fence
}

func mutations() []mutation {
	return []mutation{
		{"the newest checkpoint is not listed", func(all []*operation, at int) *operation {
			op := *all[at]
			n := len(op.Answer.Checkpoints)
			if op.Kind != "checkpoints" || n == 0 {
				return nil
			}
			op.Answer.Checkpoints = op.Answer.Checkpoints[:n-1]
			return &op
		}},
		{"a checkpoint is listed under another's content", func(all []*operation, at int) *operation {
			op := *all[at]
			if op.Kind != "checkpoints" || len(op.Answer.Checkpoints) == 0 {
				return nil
			}
			op.Answer.Checkpoints = append([]checkpoint(nil), op.Answer.Checkpoints...)
			op.Answer.Checkpoints[0].Tag += "'"
			return &op
		}},
		{"a stale list", func(all []*operation, at int) *operation {
			op := *all[at]
			if op.Kind != "checkpoints" || op.Status != ok {
				return nil
			}
			old := before(all, &op, func(o *operation) bool { return o.Answer.To < op.Answer.To })
			seen := before(all, &op, func(o *operation) bool { return o.Answer.To == op.Answer.To })
			if old == nil || seen == nil {
				return nil // what is newer may have been written meanwhile
			}
			op.Answer = old.Answer
			return &op
		}},
		{"ids are handed out twice", func(all []*operation, at int) *operation {
			op := *all[at]
			if op.Kind != "reserve" || op.Status != ok {
				return nil
			}
			old := before(all, &op, func(o *operation) bool { return true })
			if old == nil {
				return nil
			}
			op.Answer.From, op.Answer.To = old.Answer.From, old.Answer.To
			return &op
		}},
		{"a commit is acknowledged after the end of its fence", func(all []*operation, at int) *operation {
			op := *all[at]
			if op.Kind != "commit" || !wrote(&op) {
				return nil
			}
			for _, other := range all {
				if other.Kind == "granted" && other.Answer.Revision > op.Fence {
					op.Call, op.Return = other.Return+1, other.Return+2
					return &op
				}
			}
			return nil
		}},
		{"FENCED, and the fence holds afterwards", func(all []*operation, at int) *operation {
			op := *all[at]
			if op.Fence == 0 || op.Status != ok {
				return nil
			}
			for _, other := range all {
				if other.Fence == op.Fence && other.Status == ok && other.Call > op.Return {
					op.Status, op.Answer = "FENCED", answer{}
					return &op
				}
			}
			return nil
		}},
		{"two grants in the wrong order", func(all []*operation, at int) *operation {
			op := *all[at]
			if op.Kind != "granted" {
				return nil
			}
			for _, other := range all {
				if other.Kind == "granted" && other.Return < op.Call {
					op.Answer.Revision = other.Answer.Revision - 1
					return &op
				}
			}
			return nil
		}},
		{"a graph with other content", func(all []*operation, at int) *operation {
			op := *all[at]
			if op.Kind != "graph" || op.Status != ok {
				return nil
			}
			op.Answer.Tag += "'"
			return &op
		}},
		{"a result that nobody wrote", func(all []*operation, at int) *operation {
			op := *all[at]
			if op.Kind != "results" || op.Name != "" {
				return nil
			}
			op.Answer.Map = map[string]string{"j1": "dirty:?"}
			return &op
		}},
		{"an address that nobody published", func(all []*operation, at int) *operation {
			op := *all[at]
			if op.Kind != "leader" || op.Answer.Leader == "" {
				return nil
			}
			op.Answer.Map = map[string]string{"rest": "?"}
			return &op
		}},
	}
}

const (
	eachMutation = 3 // times in one history
	samplesKept  = 4
	plantedFrom  = 2 * time.Minute // a run this long has to have a history that errors can be planted in
)

// plantedInSamples changes the histories that were kept, and says how many errors were planted and found.
func (w *world) plantedInSamples() error {
	dice := rand.New(rand.NewSource(w.seed))
	kinds := mutations()
	planted := make([]int, len(kinds))
	for _, h := range w.samples {
		for number, m := range kinds {
			done := 0
			for _, at := range dice.Perm(len(h.all)) {
				if done == eachMutation || !certain(h.all, h.all[at]) {
					continue
				}
				changed := m.do(h.all, at)
				if changed == nil {
					continue
				}
				all := append([]*operation(nil), h.all...)
				all[at] = changed
				if got := check(all, w.patience); got != porcupine.Illegal {
					h.all = all
					where, _ := dump(h, w.work, w.patience)
					return fmt.Errorf("planted in %s: %q is not found: %s; was %s, now %s; %s.json", h.name, m.what, got, h.all[at],
						changed, where)
				}
				done++
			}
			planted[number] += done
		}
	}
	w.planted = map[string]int{}
	total := 0
	for number, m := range kinds {
		w.planted[m.what] = planted[number]
		total += planted[number]
	}
	// In a run of seconds it may be that each of its few histories has a call without an answer about everything.
	if total == 0 && w.length < plantedFrom {
		fmt.Printf("no error could be planted in a history of this short run; those made by hand were found before it\n")
		return nil
	}
	if total == 0 {
		return fmt.Errorf("no error could be planted in a history of this run")
	}
	return nil
}

// keep remembers the good histories with the most answers that can be changed into an error for certain.
func (w *world) keep(h *history) {
	if len(h.all) < 50 {
		return
	}
	for _, op := range h.all {
		if certain(h.all, op) {
			h.certain++
		}
	}
	w.samples = append(w.samples, h)
	sort.SliceStable(w.samples, func(a, b int) bool { return w.samples[a].certain > w.samples[b].certain })
	if len(w.samples) > samplesKept {
		w.samples = w.samples[:samplesKept]
	}
}
