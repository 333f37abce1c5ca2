package drill

import (
	"container/heap"
	"context"
)

// timeline runs what is due in order of time, and of equal times in the order in which
// they were put there.
type timeline struct {
	items items
	seq   int
	ended bool
}

type item struct {
	at  int64
	seq int
	fn  func(ctx context.Context, at int64) error
}

type items []item

// Len implements heap.Interface.
func (x items) Len() int { return len(x) }

// Less implements heap.Interface.
func (x items) Less(i, j int) bool {
	return x[i].at < x[j].at || x[i].at == x[j].at && x[i].seq < x[j].seq
}

// Swap implements heap.Interface.
func (x items) Swap(i, j int) { x[i], x[j] = x[j], x[i] }

// Push implements heap.Interface.
func (x *items) Push(v any) { *x = append(*x, v.(item)) }

// Pop implements heap.Interface.
func (x *items) Pop() any {
	last := (*x)[len(*x)-1]
	*x = (*x)[:len(*x)-1]
	return last
}

func (t *timeline) put(at int64, fn func(ctx context.Context, at int64) error) {
	t.seq++
	heap.Push(&t.items, item{at, t.seq, fn})
}

// run goes on until something ends it, or until a time.
func (t *timeline) run(ctx context.Context, until int64) error {
	for len(t.items) > 0 && !t.ended {
		next := heap.Pop(&t.items).(item)
		if next.at > until {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := next.fn(ctx, next.at); err != nil {
			return err
		}
	}
	return nil
}
