package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/chatapp-ngomna/edgecache/internal/web"
	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/tier"
	"github.com/chatapp-ngomna/edgecache/tier/look"
)

// maxAnswer is the largest answer to a batch in bytes. 10,000 typical profiles take 2.5 MB; only
// profiles far larger than those of people get here.
const maxAnswer = 64 << 20

const (
	// typicalUser is what one user of a batch is held to take before it is known, in bytes.
	typicalUser = 256
	// maxWork is how many users batches look up at the same time; further batches wait.
	maxWork = 10_000
	// maxCharged is the number of ids from which on a batch is refused, and no more room is wanted
	// for it.
	maxCharged = 10_000
)

var problemAnswer = &problem{status: 413, name: "too-large", title: "Too large",
	detail: fmt.Sprintf("the profiles take more than %d MiB; ask for fewer at once", maxAnswer>>20)}

// getUsers serves GET and HEAD /v1/users?ids=a,b,c; ids may be given several times.
func (s *Server) getUsers(c *fiber.Ctx) error {
	var ids []string
	for _, list := range c.Context().QueryArgs().PeekMulti("ids") {
		if len(list) > 0 {
			ids = append(ids, strings.Split(string(list), ",")...)
		}
	}
	if len(ids) == 0 {
		return problemRequest("the query names no ids; want /v1/users?ids=1,2,3")
	}
	return s.sendUsers(c, ids)
}

// postBatch serves POST /v1/users/batch.
func (s *Server) postBatch(c *fiber.Ctx) error {
	if err := wantType(c, typeJSON); err != nil {
		return err
	}
	var body struct {
		IDs []string `json:"ids"`
	}
	if err := s.decodeBody(c, MaxBody, &body); errors.Is(err, errBody) {
		return problemRequest(reason(err, errBody) + `; want {"ids":["1","2"]}`)
	} else if err != nil {
		return err
	}
	if body.IDs == nil {
		return problemRequest(`the body has no "ids"; want {"ids":["1","2"]}`)
	}
	return s.sendUsers(c, body.IDs)
}

func (s *Server) sendUsers(c *fiber.Ctx, ids []string) error {
	m, err := negotiate(c)
	if err != nil {
		return err
	}
	want, err := wantOf(c)
	if err != nil {
		return err
	}
	sources, err := sourcesOf(c)
	if err != nil {
		return err
	}
	through, err := s.through(c)
	if err != nil {
		return err
	}
	hold, err := s.budget.Hold(min(len(ids), maxCharged) * typicalUser)
	if err != nil {
		return err
	}
	defer hold.Release()
	ctx, cancel := context.WithTimeout(s.context(c), s.cfg.WorkTimeout)
	defer cancel()
	if err := s.work.Acquire(ctx, int64(min(len(ids), maxCharged))); err != nil {
		return web.ErrBusy
	}
	defer s.work.Release(int64(min(len(ids), maxCharged)))
	batch, err := s.lookUp(ctx, c, ids, through, want)
	if err != nil {
		return err
	}
	a := newAnswer(ids, batch)
	a.sources = sources
	return a.send(c, hold, m)
}

// send writes the answer, for which hold has room as soon as its size is known.
func (a answer) send(c *fiber.Ctx, hold *web.Hold, m media) error {
	size := a.size()
	if size > maxAnswer {
		return problemAnswer
	}
	if err := hold.Grow(size); err != nil {
		return err
	}
	body, err := appendBatch(make([]byte, 0, size), a, m)
	if err != nil {
		return err
	}
	h := &c.Response().Header
	h.SetContentType(m.String())
	h.SetCanonical(headerCacheStatus, batchCacheStatus(a.batch))
	h.SetCanonical(headerCacheControl, valueNoStore)
	h.SetCanonical(headerVary, headerAccept)
	hold.Send(c.Response(), body)
	return nil
}

// sourcesOf reads ?sources=1, which asks for who answered, user by user.
func sourcesOf(c *fiber.Ctx) (bool, error) {
	value := c.Context().QueryArgs().Peek("sources")
	if len(value) == 0 {
		return false, nil
	}
	on, err := strconv.ParseBool(string(value))
	if err != nil {
		return false, problemRequest(fmt.Sprintf("sources is %.40q; want 1 or 0", value))
	}
	return on, nil
}

// answer is a batch in the order in which it was asked for, each id once.
type answer struct {
	users   []string
	missing []string
	errors  []string
	sources bool // tell of each user who answered, and how old the answer is
	batch   tier.Batch
}

func newAnswer(ids []string, batch tier.Batch) answer {
	a := answer{batch: batch, missing: batch.Missing}
	seen := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		if _, again := seen[id]; again {
			continue
		}
		seen[id] = struct{}{}
		if _, ok := batch.Found[id]; ok {
			a.users = append(a.users, id)
		} else if batch.Errors[id] != nil {
			a.errors = append(a.errors, id)
		}
	}
	return a
}

// size is about how many bytes the answer takes.
func (a answer) size() int {
	size := 64
	for _, id := range a.users {
		size += 3*len(id) + 160 + len(a.batch.Found[id].Packed())
	}
	for _, id := range a.missing {
		size += len(id) + 8
	}
	for _, id := range a.errors {
		size += 2*len(id) + 160
	}
	return size
}

func appendBatch(dst []byte, a answer, m media) ([]byte, error) {
	if m == mediaMsgpack {
		return appendBatchMsgpack(dst, a)
	}
	return appendBatchJSON(dst, a), nil
}

func appendBatchJSON(dst []byte, a answer) []byte {
	dst = append(dst, `{"users":{`...)
	for i, id := range a.users {
		dst = append(profile.AppendJSONString(comma(dst, i), id), ':')
		dst = profile.AppendJSON(dst, a.batch.Found[id].Profile)
	}
	dst = append(dst, `},"missing":[`...)
	for i, id := range a.missing {
		dst = profile.AppendJSONString(comma(dst, i), id)
	}
	dst = append(dst, `],"errors":{`...)
	for i, id := range a.errors {
		dst = append(profile.AppendJSONString(comma(dst, i), id), ':')
		dst = profile.AppendJSONString(dst, problemOf(a.batch.Errors[id]).detail)
	}
	if a.sources {
		dst = a.appendSources(append(dst, `},"sources":{`...))
	}
	return append(dst, '}', '}', '\n')
}

// appendSources appends who answered of each user, with the age in milliseconds, rounded down.
func (a answer) appendSources(dst []byte) []byte {
	for i, id := range a.users {
		res := a.batch.Found[id]
		dst = append(profile.AppendJSONString(comma(dst, i), id), `:{"tier":"`...)
		dst = append(append(dst, res.Tier.String()...), `","ageMs":`...)
		dst = append(strconv.AppendInt(dst, res.Age.Milliseconds(), 10), '}')
	}
	return dst
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// appendBatchMsgpack writes {"users": {id: packed}, "missing": [id], "errors": {id: why}} around
// the packed bytes as they are; with sources also "sources": {id: {"tier": name, "ageMs": ms}}.
func appendBatchMsgpack(dst []byte, a answer) ([]byte, error) {
	w := bytes.NewBuffer(dst)
	enc := msgpack.NewEncoder(w)
	members := 3
	if a.sources {
		members++
	}
	err := errors.Join(enc.EncodeMapLen(members), enc.EncodeString("users"), enc.EncodeMapLen(len(a.users)))
	for _, id := range a.users {
		err = errors.Join(err, enc.EncodeString(id), enc.Encode(msgpack.RawMessage(a.batch.Found[id].Packed())))
	}
	err = errors.Join(err, enc.EncodeString("missing"), enc.EncodeArrayLen(len(a.missing)))
	for _, id := range a.missing {
		err = errors.Join(err, enc.EncodeString(id))
	}
	err = errors.Join(err, enc.EncodeString("errors"), enc.EncodeMapLen(len(a.errors)))
	for _, id := range a.errors {
		err = errors.Join(err, enc.EncodeString(id), enc.EncodeString(problemOf(a.batch.Errors[id]).detail))
	}
	if a.sources {
		err = errors.Join(err, a.encodeSources(enc))
	}
	return w.Bytes(), err
}

func (a answer) encodeSources(enc *msgpack.Encoder) error {
	err := errors.Join(enc.EncodeString("sources"), enc.EncodeMapLen(len(a.users)))
	for _, id := range a.users {
		res := a.batch.Found[id]
		err = errors.Join(err, enc.EncodeString(id), enc.EncodeMapLen(2), enc.EncodeString("tier"), enc.EncodeString(res.Tier.String()),
			enc.EncodeString("ageMs"), enc.EncodeInt(res.Age.Milliseconds()))
	}
	return err
}

// batchCacheStatus counts a batch's answers per tier; it is a hit when nothing had to come from
// further on.
func batchCacheStatus(batch tier.Batch) []byte {
	var counts [look.FromStale + 1]int
	for _, res := range batch.Found {
		counts[min(res.Tier, look.FromStale)]++
	}
	state := "hit"
	if counts[look.FromOrigin]+len(batch.Missing)+len(batch.Errors) > 0 {
		state = "fwd=miss"
	}
	store := ""
	if n := counts[look.FromStore]; n > 0 {
		store = fmt.Sprintf(" L1.5=%d", n)
	}
	return fmt.Appendf(nil, `edgecache; %s; detail="L1=%d%s L2=%d origin=%d stale=%d"`,
		state, counts[look.FromL1], store, counts[look.FromL2], counts[look.FromOrigin], counts[look.FromStale])
}
