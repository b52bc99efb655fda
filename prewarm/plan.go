package prewarm

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
)

// planPage is how many ranges one pipeline carries.
const planPage = 64

// ranked is a user of the plan with his place in it: 0 is the newest.
type ranked struct {
	id   string
	rank uint32
}

// rangeSet says which ranges have users. Redis has it beside the plan, so that a range that was
// lost is told from an empty one.
type rangeSet [profile.Ranges / 8]byte

func (s *rangeSet) add(n int) { s[n/8] |= 1 << (n % 8) }

func (s *rangeSet) has(n int) bool { return s[n/8]&(1<<(n%8)) != 0 }

func (s *rangeSet) encode() string { return hex.EncodeToString(s[:]) }

// decode takes what encode returned; nothing stands for no range.
func (s *rangeSet) decode(text string) error {
	if len(text) > 0 && len(text) != 2*len(s) {
		return fmt.Errorf("%d digits; want %d", len(text), 2*len(s))
	}
	_, err := hex.Decode(s[:], []byte(text))
	return err
}

// split deals users, newest first, out to their ranges.
func split(users []User) (plan [profile.Ranges][]ranked) {
	for i, u := range users {
		n := profile.RangeOf(u.ID)
		plan[n] = append(plan[n], ranked{u.ID, uint32(i)})
	}
	return plan
}

// appendRange encodes the users of a range, newest first: for each, in varints, how many places he
// comes after the one before, the length of his id, and the id.
func appendRange(dst []byte, users []ranked) []byte {
	last := uint32(0)
	for _, u := range users {
		dst = binary.AppendUvarint(dst, uint64(u.rank-last))
		dst = append(binary.AppendUvarint(dst, uint64(len(u.id))), u.id...)
		last = u.rank
	}
	return dst
}

// decodeRange is the inverse of appendRange. The ids share one string.
func decodeRange(text string) (users []ranked, err error) {
	data := []byte(text)
	rank := uint64(0)
	for at := 0; at < len(data); {
		step, n := binary.Uvarint(data[at:])
		size, m := binary.Uvarint(data[at+max(n, 0):])
		if n <= 0 || m <= 0 || size > profile.MaxIDLen || int(size) > len(data)-at-n-m || step > MostUsers || rank+step > MostUsers {
			return nil, fmt.Errorf("%w: plan, at byte %d of %d", ErrMalformed, at, len(data))
		}
		at += n + m
		id := text[at : at+int(size)]
		if err := profile.CheckID(id); err != nil {
			return nil, fmt.Errorf("%w: plan: %w", ErrMalformed, err)
		}
		rank, at = rank+step, at+int(size)
		users = append(users, ranked{id, uint32(rank)})
	}
	return users, nil
}

func (s *store) planKey(run string, number int) string {
	return s.prefix + ":" + run + ":plan:" + strconv.Itoa(number)
}

// writePlan stores the ranges that have users, and returns which, and how many, those are.
func (s *store) writePlan(ctx context.Context, run string, plan *[profile.Ranges][]ranked, ttl time.Duration) (filled rangeSet, count int, err error) {
	for from := 0; from < profile.Ranges; from += planPage {
		pipe := s.client.Pipeline()
		for n := from; n < from+planPage; n++ {
			if len(plan[n]) > 0 {
				filled.add(n)
				count++
				pipe.Set(ctx, s.planKey(run, n), appendRange(nil, plan[n]), ttl)
			}
		}
		if pipe.Len() == 0 {
			continue
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return filled, 0, fmt.Errorf("prewarm: write the plan: %w", err)
		}
	}
	return filled, count, nil
}

// readPlan returns the users of ranges; those without any are not in the result.
func (s *store) readPlan(ctx context.Context, run string, numbers []int) (map[int][]ranked, error) {
	plan := make(map[int][]ranked, len(numbers))
	for page := range slices.Chunk(numbers, planPage) {
		pipe := s.client.Pipeline()
		gets := make([]*redis.StringCmd, len(page))
		for i, n := range page {
			gets[i] = pipe.Get(ctx, s.planKey(run, n))
		}
		_, _ = pipe.Exec(ctx) // every command holds its own error
		for i, n := range page {
			text, err := gets[i].Result()
			if errors.Is(err, redis.Nil) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("prewarm: read the plan: %w", err)
			}
			if plan[n], err = decodeRange(text); err != nil {
				return nil, fmt.Errorf("range %d: %w", n, err)
			}
		}
	}
	return plan, nil
}
