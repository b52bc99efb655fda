package fuel

// FrameSlots is what each call takes of the stack beside its parameters, locals and operands: room
// for what the engine saves.
const FrameSlots = 8

// Costs in units. One unit is an instruction that takes a fraction of a nanosecond; the others are
// set so that no unit takes more than a few, as measured with wazero's compiler on amd64.
const (
	callCost     = 8
	indirectCost = 4 // on top of callCost
	entryCost    = 2
	// localsPerUnit is how many locals are cleared for a unit at a function's entry.
	localsPerUnit = 4
	vectorCost    = 2
	vectorFloat   = 8
	floatCost     = 4  // operands that are denormal take long
	divideCost    = 16 // integers and floats
	exitCost      = 64 // the engine goes through Go
	bulkCost      = 16
)

// Bulk operations cost as much again by their length, as powers of two.
const (
	// bytesShift: 16 bytes of memory are a unit.
	bytesShift = 4
	// pageShift: a page of memory after memory.grow, which may move all pages, is 1,024 units.
	pageShift = 10
)

func plainCost(op byte) int {
	switch {
	case op == opMemoryGrow || op == opRefFunc:
		return exitCost
	case op >= 0x6d && op <= 0x70, op >= 0x7f && op <= 0x82: // div and rem of i32 and i64
		return divideCost
	case op == 0x95 || op == 0xa3 || op == 0x91 || op == 0x9f: // div and sqrt of f32 and f64
		return divideCost
	case op >= 0x8b && op <= 0xa6, op >= 0xa8 && op <= 0xbf: // the other arithmetic and conversions
		return floatCost
	}
	return 1
}

func controlCost(op byte) int {
	switch op {
	case opBlock, opElse, opEnd, opUnreachable:
		return 0
	}
	return 1
}

func vectorCostOf(op byte) int {
	if op >= 224 || op >= 103 && op <= 106 || op == 116 || op == 117 || op == 122 || op == 148 {
		return vectorFloat // arithmetic, conversions and rounding of floats
	}
	return vectorCost
}

func miscCost(op uint32) int {
	switch {
	case op <= 7: // conversions to integers
		return floatCost
	case op == miscTableSize:
		return 1
	case op == miscTableGrow:
		return exitCost
	}
	return bulkCost
}

// bulk reports whether an operation after opMisc is charged by its length.
func bulk(op int) bool {
	switch op {
	case miscMemoryInit, miscMemoryCopy, miscMemoryFill,
		miscTableInit, miscTableCopy, miscTableGrow, miscTableFill:
		return true
	}
	return false
}
