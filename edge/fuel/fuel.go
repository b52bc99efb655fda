// Package fuel rewrites a WebAssembly module so that it pays for what it executes, and ends when it
// cannot.
//
// # What is paid for
//
// A rewritten module counts down a global, FuelGlobal, which its host sets before each call. One
// unit is one instruction; some cost more, because they take longer: see the constants of cost.go.
// A stretch of straight code is paid for at its beginning, before any of it runs: at the entry of a
// function, at the head of a loop at each turn, and where branches part. Up to 32 units are paid at
// one such place for code that a branch then skips; nothing runs that was not paid for. Bulk
// operations pay for their length as well, before they run: memory.fill, memory.copy and
// memory.init a unit for 16 bytes, memory.grow 1,024 units for each page of the memory that
// results, and the operations on tables a unit for each entry.
//
// A second global, StackGlobal, counts the slots of stack that calls take. It bounds how deep calls
// go, and with that the memory of the stack: 16 bytes a slot and, because the engine's stack grows
// by doubling, four times as much for a moment. A function that calls nothing and has a small frame
// takes no part.
//
// When either is used up the module traps at once, by unreachable. The host tells by the global:
// it is below 0, which a guest's own trap never makes it. The guest can neither read nor write the
// two: they come after its own globals, and code that names a global beyond those is refused.
//
// # What is promised
//
//   - For the same module, arguments, memory and fuel, the verdict is the same on every node.
//   - No run executes more than its fuel pays for. What that takes depends on the machine: 0.1 to
//     1 ns a unit, as measured, and 1 to 15 ns where each read misses the processor's cache.
//   - What the engine accepted it accepts after rewriting; what it refused it still refuses. A
//     module with enough fuel behaves as it did, but for a memory and tables that grow no further
//     than the limits, and stack overflow that comes earlier.
//   - What takes an engine long to compile is refused. Without Limits.Merges 34 KB can take it six
//     minutes.
//   - The same bytes and limits make the same module, everywhere.
//
// # What is not
//
//   - An imported function costs what a call costs, whatever it does. The host pays for the rest.
//   - Fuel belongs to an instance. Modules that import from one another each have their own.
//   - Custom sections are dropped, names among them, so traces of traps show numbers.
//   - Instantiating copies data and element segments unpaid: as many bytes as the module has.
//   - The start function is exported as StartFunction and does not run by itself, so that it runs
//     under fuel.
//
// Core WebAssembly 2.0 is understood, as wazero runs it by default. Threads, tail calls,
// exceptions, typed references, more than one memory, and components are refused.
package fuel

import (
	"errors"
	"fmt"
)

// Names of what a rewritten module exports for its host. A module that exports a name with
// ReservedPrefix of its own is refused.
const (
	ReservedPrefix = "edgecache:"
	// FuelGlobal is a mutable i64: the units that remain. It is 0 in a new instance, so nothing
	// runs before the host has set it, and below 0 after a run that was ended for want of fuel.
	FuelGlobal = ReservedPrefix + "fuel"
	// StackGlobal is a mutable i64: the slots of stack that remain. It is Limits.Stack in a new
	// instance, and below 0 after a run that was ended because its calls were too deep. A trap
	// leaves it as it was; the host sets it back to Module.Stack.
	StackGlobal = ReservedPrefix + "stack"
	// StartFunction is the start function of a module that has one. It does not run by itself.
	StartFunction = ReservedPrefix + "start"
	// GlobalPrefix is followed by the index of a mutable global of the module.
	GlobalPrefix = ReservedPrefix + "global:"
)

var (
	// ErrMalformed says that the bytes are no valid module.
	ErrMalformed = errors.New("malformed")
	// ErrUnsupported says that a module uses what is beyond core WebAssembly 2.0, or more than one
	// memory.
	ErrUnsupported = errors.New("unsupported")
	// ErrLimit says that a module is beyond one of its Limits.
	ErrLimit = errors.New("over a limit")
	// ErrImport says that a module imports what it is not given.
	ErrImport = errors.New("import refused")
	// ErrReserved says that a module exports a name that is kept for the host.
	ErrReserved = errors.New("reserved name")
)

// Import names something that a module may import.
type Import struct {
	Module, Name string
}

// Limits are what a module must keep to. The zero value holds the defaults; a field below 0 is an
// error.
type Limits struct {
	// Imports is what may be imported. None by default.
	Imports []Import
	// Bytes is the size of the module. 8 MiB by default.
	Bytes int
	// Pages is the size of its memory, in pages of 64 KiB, declared or grown to. 64 by default, at
	// most 65,536.
	Pages int
	// Stack is how deep calls may go, in slots: a call takes one for each parameter, local and
	// operand, another for each parameter and local of 128 bits, and FrameSlots. 65,536 by default.
	Stack int
	// Types is the number of function types, 4,096 by default, and Params the parameters and the
	// results of each, 128 by default.
	Types, Params int
	// Functions and Globals count the module's own and imported ones: 32,768 and 4,096 by default.
	Functions, Globals int
	// Tables is the number of tables, 8 by default, and Entries how many each may have, declared or
	// grown to, 65,536 by default.
	Tables, Entries int
	// Segments is the number of data segments and of element segments, 65,536 each by default.
	Segments int
	// Exports is the number of exports. 4,096 by default.
	Exports int
	// Body is the code of one function, 256 KiB by default, and Code that of all, 6 MiB by default.
	Body, Code int
	// Locals is the number of parameters and locals of one function. 2,048 by default.
	Locals int
	// Nesting is how deep blocks of one function may nest, 2,048 by default, and Targets the labels
	// of one br_table, 8,192 by default.
	Nesting, Targets int
	// Merges bounds the time and the memory that one function takes to compile, which grow with it
	// faster than in proportion: for each label 8 (a loop's 64), the locals and what the label
	// takes and leaves, for each branch 4 and the operands that go with it, and for each
	// call the values it passes beyond 16. 65,536 by default.
	// AllMerges bounds the sum over all functions, 2,097,152 by default.
	Merges, AllMerges int
}

// Module is a module that was checked and rewritten.
type Module struct {
	// Wasm is the rewritten module, in the binary format.
	Wasm []byte
	// Start reports whether it exports StartFunction.
	Start bool
	// Stack is what StackGlobal holds before a call.
	Stack int64
	// Globals names the exports, with GlobalPrefix, of mutable globals that a host can put back.
	Globals []string
	// Sticky reports whether a call may leave behind what a host cannot put back: a table that was
	// written to, a segment that was dropped, a mutable global of 128 bits or of a reference.
	Sticky bool
}

// Rewrite checks a module and returns one that does the same within a budget. Errors name the
// section, the function and the rule, and wrap ErrMalformed, ErrUnsupported, ErrLimit, ErrImport
// or ErrReserved. The types of operands are not checked: an engine does that, and refuses a
// rewritten module wherever it would have refused the module. The module's bytes are not kept.
func Rewrite(wasm []byte, limits Limits) (Module, error) {
	limits, err := limits.withDefaults()
	if err != nil {
		return Module{}, err
	}
	var m module
	if err := m.parse(wasm, limits); err != nil {
		return Module{}, fmt.Errorf("fuel: %w", err)
	}
	return m.rewrite(), nil
}

// maxPages is what 32 bits address.
const maxPages = 1 << 16

func (l Limits) withDefaults() (Limits, error) {
	fields := []struct {
		name  string
		value *int
		is    int
	}{
		{"Bytes", &l.Bytes, 8 << 20}, {"Pages", &l.Pages, 64}, {"Stack", &l.Stack, 1 << 16},
		{"Types", &l.Types, 4096}, {"Params", &l.Params, 128},
		{"Functions", &l.Functions, 32768}, {"Globals", &l.Globals, 4096},
		{"Tables", &l.Tables, 8}, {"Entries", &l.Entries, 1 << 16},
		{"Segments", &l.Segments, 1 << 16}, {"Exports", &l.Exports, 4096},
		{"Body", &l.Body, 256 << 10}, {"Code", &l.Code, 6 << 20}, {"Locals", &l.Locals, 2048},
		{"Nesting", &l.Nesting, 2048},
		{"Targets", &l.Targets, 8192}, {"Merges", &l.Merges, 1 << 16},
		{"AllMerges", &l.AllMerges, 1 << 21},
	}
	for _, f := range fields {
		if *f.value < 0 {
			return l, fmt.Errorf("fuel: Limits.%s is %d", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.is
		}
	}
	if l.Pages > maxPages {
		return l, fmt.Errorf("fuel: Limits.Pages is %d, at most %d", l.Pages, maxPages)
	}
	return l, nil
}

func (l Limits) allows(i Import) bool {
	for _, allowed := range l.Imports {
		if i == allowed {
			return true
		}
	}
	return false
}
