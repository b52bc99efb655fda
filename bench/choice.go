package bench

import (
	"math"
	"math/rand/v2"
	"sort"
)

// orderLength is how many choices are drawn before a run, a power of two.
const orderLength = 1 << 18

// order is the user that the n-th operation asks for, drawn before.
type order []uint32

func (o order) at(n uint64) int { return int(o[n%uint64(len(o))]) }

// uniform draws users, each as likely.
func uniform(seed uint64, users int) order {
	r := rand.New(rand.NewPCG(seed, 1))
	o := make(order, orderLength)
	for i := range o {
		o[i] = uint32(r.IntN(users))
	}
	return o
}

// inTurn has each user once before any again, in random order.
func inTurn(seed uint64, users int) order {
	o := make(order, users)
	for i, v := range rand.New(rand.NewPCG(seed, 4)).Perm(users) {
		o[i] = uint32(v)
	}
	return o
}

// zipf draws users, the k-th most popular with a weight of 1/k to the power of s; who is popular is
// shuffled.
func zipf(seed uint64, users int, s float64) order {
	if s == 0 {
		return uniform(seed, users)
	}
	r := rand.New(rand.NewPCG(seed, 2))
	who, sums, sum := r.Perm(users), make([]float64, users), 0.0
	for k := range sums {
		sum += math.Pow(float64(k+1), -s)
		sums[k] = sum
	}
	o := make(order, orderLength)
	for i := range o {
		o[i] = uint32(who[min(users-1, sort.SearchFloat64s(sums, r.Float64()*sum))])
	}
	return o
}
