package fuel_test

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/chatapp-ngomna/edgecache/edge/fuel"
)

// endless is (module (func (export "run") (loop (br 0)))).
const endless = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00" +
	"\x07\x07\x01\x03run\x00\x00\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b"

func ExampleRewrite() {
	module, err := fuel.Rewrite([]byte(endless), fuel.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	runtime := wazero.NewRuntime(ctx)
	defer runtime.Close(ctx)
	guest, err := runtime.Instantiate(ctx, module.Wasm)
	if err != nil {
		fmt.Println(err)
		return
	}
	left := guest.ExportedGlobal(fuel.FuelGlobal).(api.MutableGlobal)
	stack := guest.ExportedGlobal(fuel.StackGlobal).(api.MutableGlobal)

	// Before each call the host sets both.
	left.Set(100_000)
	stack.Set(uint64(module.Stack))
	_, err = guest.ExportedFunction("run").Call(ctx)
	fmt.Println("ended:", err != nil)
	fmt.Println("out of fuel:", int64(left.Get()) < 0)
	fmt.Println("out of stack:", int64(stack.Get()) < 0)
	// Output:
	// ended: true
	// out of fuel: true
	// out of stack: false
}
