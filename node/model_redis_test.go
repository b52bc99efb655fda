package node

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chatapp-ngomna/edgecache/profile"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// modelRedis is a server that lives in a bubble of virtual time. It speaks Redis's protocol over
// wires, runs the very scripts that a real server gets, and can be restarted, replaced by a replica
// that lags, and asked what each node should know.
type modelRedis struct {
	mu                     sync.Mutex
	data                   *keyspace
	runID, replID, replID2 string
	up                     bool
	ahead                  time.Duration // how far its clock is
	lives                  int           // restarts and failovers
	serial, born           int
	changed                chan struct{} // closed at the next entry
	lua                    *lua.LState
	compiled               *compiled
	loaded                 map[string]bool // scripts that this life of the server has been given
	wires                  []*wire
	journal                *journal
}

// compiled are scripts by their hash, shared by all servers of a test: compiling them takes longer
// than running them.
type compiled struct{ sync.Map }

func (c *compiled) proto(hash, source string) (*lua.FunctionProto, error) {
	if p, ok := c.Load(hash); ok {
		return p.(*lua.FunctionProto), nil
	}
	chunk, err := parse.Parse(strings.NewReader(source), hash)
	if err != nil {
		return nil, err
	}
	p, err := lua.Compile(chunk, hash)
	if err == nil {
		c.Store(hash, p)
	}
	return p, err
}

func newModelRedis(c *compiled) *modelRedis {
	s := &modelRedis{data: newKeyspace(), up: true, changed: make(chan struct{}), compiled: c}
	s.lua = lua.NewState(lua.Options{SkipOpenLibs: true, RegistrySize: 1024, CallStackSize: 64})
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString, lua.MathLibName: lua.OpenMath,
	} {
		s.lua.Push(s.lua.NewFunction(open))
		s.lua.Push(lua.LString(name))
		s.lua.Call(1, 0)
	}
	redis := s.lua.NewTable()
	redis.RawSetString("call", s.lua.NewFunction(s.call))
	s.lua.SetGlobal("redis", redis)
	s.begin(newKeyspace(), false)
	return s
}

// begin gives the server another life with what it still knows. replica says that it was one of the
// server before.
func (s *modelRedis) begin(data *keyspace, replica bool) {
	s.lives++
	if s.data = data; replica {
		s.replID2 = s.replID
	} else {
		s.replID2 = strings.Repeat("0", 40)
	}
	s.runID, s.replID = fmt.Sprintf("%040d", s.lives), fmt.Sprintf("%040x", 1000+s.lives)
	s.loaded = map[string]bool{}
}

func (s *modelRedis) now() time.Time { return time.Now().Add(s.ahead) }

func (s *modelRedis) isUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up
}

const noScript = "NOSCRIPT No matching script."

// scriptOf returns the hash of what eval runs.
func scriptOf(name string, args []string) string {
	if name == "EVALSHA" {
		return args[0]
	}
	sum := sha1.Sum([]byte(args[0]))
	return hex.EncodeToString(sum[:])
}

// call is redis.call.
func (s *modelRedis) call(l *lua.LState) int {
	args := make([]string, l.GetTop())
	for i := range args {
		args[i] = lua.LVAsString(l.Get(i + 1))
	}
	reply := s.command(strings.ToUpper(args[0]), args[1:])
	if f, bad := reply.(failure); bad {
		l.RaiseError("%s", string(f))
	}
	l.Push(toLua(l, reply))
	return 1
}

func toLua(l *lua.LState, reply any) lua.LValue {
	switch r := reply.(type) {
	case int:
		return lua.LNumber(r)
	case string:
		return lua.LString(r)
	case []any:
		t := l.NewTable()
		for _, v := range r {
			t.Append(toLua(l, v))
		}
		return t
	}
	return lua.LFalse
}

func fromLua(v lua.LValue) any {
	switch v := v.(type) {
	case lua.LNumber:
		return int(v)
	case lua.LString:
		return string(v)
	case *lua.LTable:
		all := []any{}
		for i := 1; v.RawGetInt(i) != lua.LNil; i++ {
			all = append(all, fromLua(v.RawGetInt(i)))
		}
		return all
	}
	return nil
}

// eval is EVAL and EVALSHA: script, number of keys, keys, args.
func (s *modelRedis) eval(name string, args []string) any {
	hash, source := scriptOf(name, args), args[0]
	if name == "EVAL" {
		s.loaded[hash] = true
	}
	if !s.loaded[hash] {
		return failure(noScript)
	}
	proto, err := s.compiled.proto(hash, source)
	if err != nil {
		return failure("ERR " + err.Error())
	}
	n, _ := strconv.Atoi(args[1])
	s.lua.SetGlobal("KEYS", toLua(s.lua, strs(args[2:2+n])))
	s.lua.SetGlobal("ARGV", toLua(s.lua, strs(args[2+n:])))
	s.lua.Push(s.lua.NewFunctionFromProto(proto))
	if err := s.lua.PCall(0, 1, nil); err != nil {
		return failure("ERR " + err.Error())
	}
	defer s.lua.Pop(1)
	return fromLua(s.lua.Get(-1))
}

// serve runs a command that came over a line.
func (s *modelRedis) serve(l *line, name string, args []string) any {
	if name == "XREAD" {
		return s.read(l, args)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name {
	case "EVAL", "EVALSHA":
		reply := s.eval(name, args)
		if key := args[2]; reply != failure(noScript) {
			keys, _ := strconv.Atoi(args[1])
			s.journal.note(strings.TrimPrefix(key, profile.KeyPrefix), "%s: script %.4s %v: %v", l.wire.name, scriptOf(name, args), args[2+keys:], reply)
		}
		return reply
	case "HGETALL":
		reply := s.command(name, args)
		s.journal.note(strings.TrimPrefix(args[0], profile.KeyPrefix), "%s: reads %v", l.wire.name, reply)
		return reply
	case "XINFO":
		l.stage(s, s.data.streams[args[1]])
	case "INFO":
		l.stageIdentity(s)
	}
	return s.command(name, args)
}

// read is XREAD [COUNT n] [BLOCK ms] STREAMS key id; without BLOCK it does not wait.
func (s *modelRedis) read(l *line, args []string) any {
	count, timeout := -1, (<-chan time.Time)(nil)
	for i := 0; i+1 < len(args); i++ {
		n, _ := strconv.Atoi(args[i+1])
		switch strings.ToUpper(args[i]) {
		case "COUNT":
			count = n
		case "BLOCK":
			timeout = time.After(time.Duration(n) * time.Millisecond)
		}
	}
	for over := timeout == nil; ; {
		entries, changed := s.look(l, args[len(args)-2], args[len(args)-1], count)
		switch {
		case len(entries) > 0:
			return []any{[]any{args[len(args)-2], entries}}
		case over:
			return noArray{}
		}
		select {
		case <-changed:
		case <-timeout:
			over = true
		case <-l.ended:
			over = true
		}
	}
}

func (s *modelRedis) look(l *line, key, from string, count int) (entries []any, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := after(s.data.streams[key], positionOf(from))
	if count >= 0 && len(found) > count {
		found = found[:count]
	}
	l.read, l.hasRead = found, true
	for _, e := range found {
		entries = append(entries, e.reply())
	}
	return entries, s.changed
}

// noArray is the reply of a read that found nothing.
type noArray struct{}

// encode returns a reply as it goes over the wire.
func encode(reply any) string {
	switch r := reply.(type) {
	case noArray:
		return "*-1\r\n"
	case int:
		return fmt.Sprintf(":%d\r\n", r)
	case string:
		return fmt.Sprintf("$%d\r\n%s\r\n", len(r), r)
	case status:
		return "+" + string(r) + "\r\n"
	case failure:
		return "-" + string(r) + "\r\n"
	case []any:
		var b strings.Builder
		fmt.Fprintf(&b, "*%d\r\n", len(r))
		for _, v := range r {
			b.WriteString(encode(v))
		}
		return b.String()
	}
	return "$-1\r\n"
}

func (s *modelRedis) life() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lives
}
