package fuel

// Opcodes that the rewriter looks at.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableSet     = 0x26
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI64GeS       = 0x59
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Or        = 0x84
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opExtendU      = 0xad // i64.extend_i32_u
	opRefNull      = 0xd0
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd
	vecConst       = 12 // after opVector

	blockEmpty = 0x40
)

// Opcodes after opMisc.
const (
	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17
)

// shape says what follows an opcode, and how many operands it takes and leaves.
type shape struct {
	immediate immediate
	pops      int
	pushes    int
}

type immediate uint8

// What follows an opcode. Control instructions and those after opMisc are decoded on their own.
const (
	immRefused immediate = iota
	immNone
	immControl
	immLocal
	immGlobal
	immTable
	immMemory  // alignment and offset
	immPage    // the index of the only memory
	immI32     // a signed number of 32 bits
	immI64     // a signed number of 64 bits
	imm4       // bytes
	imm8       // bytes
	imm16      // bytes
	immRef     // a reference type
	immFunc    // a function that may be referred to
	immTypes   // a vector of one value type
	immLane    // a lane
	immMemLane // alignment, offset and lane
)

// run gives one shape to all opcodes of a range.
type run struct {
	from, to byte
	shape
}

func shapes(runs []run) *[256]shape {
	var table [256]shape
	for _, r := range runs {
		for op := int(r.from); op <= int(r.to); op++ {
			table[op] = r.shape
		}
	}
	return &table
}

var (
	nullary = shape{immNone, 0, 0}
	unary   = shape{immNone, 1, 1}
	binary  = shape{immNone, 2, 1}
	ternary = shape{immNone, 3, 1}
	control = shape{immControl, 0, 0}
	load    = shape{immMemory, 1, 1}
	store   = shape{immMemory, 2, 0}
)

// plain has the instructions of one byte.
var plain = shapes([]run{
	{0x00, 0x00, control}, {0x01, 0x01, nullary}, {0x02, 0x05, control}, {0x0b, 0x11, control},
	{0x1a, 0x1a, shape{immNone, 1, 0}},                         // drop
	{0x1b, 0x1b, ternary}, {0x1c, 0x1c, shape{immTypes, 3, 1}}, // select
	{0x20, 0x20, shape{immLocal, 0, 1}}, {0x21, 0x21, shape{immLocal, 1, 0}},
	{0x22, 0x22, shape{immLocal, 1, 1}},
	{0x23, 0x23, shape{immGlobal, 0, 1}}, {0x24, 0x24, shape{immGlobal, 1, 0}},
	{0x25, 0x25, shape{immTable, 1, 1}}, {0x26, 0x26, shape{immTable, 2, 0}},
	{0x28, 0x35, load}, {0x36, 0x3e, store},
	{0x3f, 0x3f, shape{immPage, 0, 1}}, {0x40, 0x40, shape{immPage, 1, 1}},
	{0x41, 0x41, shape{immI32, 0, 1}}, {0x42, 0x42, shape{immI64, 0, 1}},
	{0x43, 0x43, shape{imm4, 0, 1}}, {0x44, 0x44, shape{imm8, 0, 1}},
	{0x45, 0x45, unary}, {0x46, 0x4f, binary}, // comparisons: i32
	{0x50, 0x50, unary}, {0x51, 0x66, binary}, // i64, f32, f64
	{0x67, 0x69, unary}, {0x6a, 0x78, binary}, // arithmetic: i32
	{0x79, 0x7b, unary}, {0x7c, 0x8a, binary}, // i64
	{0x8b, 0x91, unary}, {0x92, 0x98, binary}, // f32
	{0x99, 0x9f, unary}, {0xa0, 0xa6, binary}, // f64
	{0xa7, 0xc4, unary}, // conversions, sign extension
	{0xd0, 0xd0, shape{immRef, 0, 1}}, {0xd1, 0xd1, unary}, {0xd2, 0xd2, shape{immFunc, 0, 1}},
	{0xfc, 0xfd, control},
})

// vector has the instructions after opVector.
var vector = shapes([]run{
	{0, 10, load}, {11, 11, store}, {12, 12, shape{imm16, 0, 1}},
	{13, 13, shape{imm16, 2, 1}}, {14, 14, binary}, {15, 20, unary}, // shuffle, swizzle, splats
	{21, 22, extract}, {23, 23, replace}, {24, 25, extract}, {26, 26, replace},
	{27, 27, extract}, {28, 28, replace}, {29, 29, extract}, {30, 30, replace},
	{31, 31, extract}, {32, 32, replace}, {33, 33, extract}, {34, 34, replace},
	{35, 76, binary}, // comparisons
	{77, 77, unary}, {78, 81, binary}, {82, 82, ternary}, {83, 83, unary},
	{84, 87, shape{immMemLane, 2, 1}}, {88, 91, shape{immMemLane, 2, 0}}, {92, 93, load},
	{94, 100, unary}, {101, 102, binary}, {103, 106, unary}, {107, 115, binary}, // i8x16, f32x4
	{116, 117, unary}, {118, 121, binary}, {122, 122, unary}, {123, 123, binary},
	{124, 129, unary}, {130, 130, binary}, {131, 132, unary}, {133, 134, binary}, // i16x8
	{135, 138, unary}, {139, 147, binary}, {148, 148, unary}, {149, 153, binary},
	{155, 159, binary}, {160, 161, unary}, {163, 164, unary}, {167, 170, unary}, // i32x4
	{171, 174, binary}, {177, 177, binary}, {181, 186, binary}, {188, 191, binary},
	{192, 193, unary}, {195, 196, unary}, {199, 202, unary}, {203, 206, binary}, // i64x2
	{209, 209, binary}, {213, 223, binary},
	{224, 225, unary}, {227, 227, unary}, {228, 235, binary}, // f32x4
	{236, 237, unary}, {239, 239, unary}, {240, 247, binary}, {248, 255, unary}, // f64x2
})

var (
	extract = shape{immLane, 1, 1}
	replace = shape{immLane, 2, 1}
)
