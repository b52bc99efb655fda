package mongodb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/wiremessage"
)

// fakeServer speaks enough of MongoDB's wire protocol for one find: the driver's own library reads
// and writes the messages, so that what the driver sends is what a real server would get. It judges
// nothing: find returns documents as they are.
type fakeServer struct {
	addr string
	// documents are what find returns, in batches of the size asked for.
	documents []bson.Raw
	// indexes are those of the collection.
	indexes []bson.Raw
	// fail names a command that is answered with an error.
	fail string

	mu       sync.Mutex
	commands []bson.Raw // what the driver sent, without hello; guarded by mu
	sent     int        // of documents; guarded by mu
}

func startFake(t *testing.T, f *fakeServer) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				if err := f.serve(conn); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					t.Logf("fake server: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait() // the driver has closed its connections
	})
	return f
}

func (f *fakeServer) uri() string { return "mongodb://" + f.addr + "/chat?replicaSet=rs" }

// serve answers the requests of one connection.
func (f *fakeServer) serve(conn net.Conn) error {
	for {
		size := make([]byte, 4)
		if _, err := io.ReadFull(conn, size); err != nil {
			return err
		}
		n := binary.LittleEndian.Uint32(size)
		if n < 16 || n > 1<<20 {
			return fmt.Errorf("a message of %d bytes", n)
		}
		message := append(size, make([]byte, n-4)...)
		if _, err := io.ReadFull(conn, message[4:]); err != nil {
			return err
		}
		reply, err := f.answer(message)
		if err != nil {
			return err
		}
		if _, err := conn.Write(reply); err != nil {
			return err
		}
	}
}

// answer returns the reply to a message: the driver begins with OP_QUERY and goes on with OP_MSG.
func (f *fakeServer) answer(message []byte) ([]byte, error) {
	_, id, _, op, body, ok := wiremessage.ReadHeader(message)
	if !ok {
		return nil, errors.New("no header")
	}
	switch op {
	//lint:ignore SA1019 the driver's first message is one
	case wiremessage.OpQuery:
		i, b := wiremessage.AppendHeaderStart(nil, 1, id, wiremessage.OpReply)
		b = wiremessage.AppendReplyFlags(b, 0)
		b = wiremessage.AppendReplyCursorID(b, 0)
		b = wiremessage.AppendReplyStartingFrom(b, 0)
		b = wiremessage.AppendReplyNumberReturned(b, 1)
		b = append(b, f.hello()...)
		return bsoncore.UpdateLength(b, i, int32(len(b))), nil
	case wiremessage.OpMsg:
		_, body, _ = wiremessage.ReadMsgFlags(body)
		_, body, _ = wiremessage.ReadMsgSectionType(body)
		command, _, ok := wiremessage.ReadMsgSectionSingleDocument(body)
		if !ok {
			return nil, errors.New("no command in OP_MSG")
		}
		i, b := wiremessage.AppendHeaderStart(nil, 1, id, wiremessage.OpMsg)
		b = wiremessage.AppendMsgFlags(b, 0)
		b = wiremessage.AppendMsgSectionType(b, wiremessage.SingleDocument)
		b = append(b, f.run(bson.Raw(command))...)
		return bsoncore.UpdateLength(b, i, int32(len(b))), nil
	}
	return nil, fmt.Errorf("opcode %v", op)
}

func (f *fakeServer) hello() bson.Raw {
	return document(bson.D{{Key: "ok", Value: 1}, {Key: "helloOk", Value: true}, {Key: "isWritablePrimary", Value: false}, {Key: "ismaster", Value: false},
		{Key: "secondary", Value: true}, {Key: "setName", Value: "rs"}, {Key: "hosts", Value: bson.A{f.addr}}, {Key: "me", Value: f.addr},
		{Key: "minWireVersion", Value: 0}, {Key: "maxWireVersion", Value: 21}, {Key: "maxBsonObjectSize", Value: 16 << 20},
		{Key: "maxMessageSizeBytes", Value: 48_000_000}, {Key: "maxWriteBatchSize", Value: 100_000}})
}

// run executes one command.
func (f *fakeServer) run(command bson.Raw) bson.Raw {
	name := command.Index(0).Key()
	if name == "hello" || name == "isMaster" {
		return f.hello()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commands = append(f.commands, append(bson.Raw(nil), command...))
	if name == f.fail {
		return document(bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: 13}, {Key: "codeName", Value: "Unauthorized"},
			{Key: "errmsg", Value: "not authorized on chat to execute command " + name}})
	}
	const space = "chat.conversations"
	switch name {
	case "find":
		f.sent = 0
		return f.batchLocked("firstBatch", space, command.Lookup("batchSize").AsInt64())
	case "getMore":
		return f.batchLocked("nextBatch", space, command.Lookup("batchSize").AsInt64())
	case "listIndexes":
		return document(bson.D{{Key: "ok", Value: 1}, {Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: space},
			{Key: "firstBatch", Value: append([]bson.Raw{}, f.indexes...)}}}})
	case "killCursors", "endSessions", "ping":
		return document(bson.D{{Key: "ok", Value: 1}})
	}
	return document(bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: 59}, {Key: "errmsg", Value: "no such command: '" + name + "'"}})
}

func (f *fakeServer) batchLocked(field, space string, size int64) bson.Raw {
	rest := f.documents[f.sent:]
	batch := rest[:min(int(size), len(rest))]
	f.sent += len(batch)
	cursor := int64(77)
	if f.sent == len(f.documents) {
		cursor = 0
	}
	return document(bson.D{{Key: "ok", Value: 1}, {Key: "cursor", Value: bson.D{{Key: "id", Value: cursor}, {Key: "ns", Value: space},
		{Key: field, Value: append([]bson.Raw{}, batch...)}}}})
}

// got returns the commands of one name that the driver sent.
func (f *fakeServer) got(name string) (commands []bson.Raw) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.commands {
		if c.Index(0).Key() == name {
			commands = append(commands, c)
		}
	}
	return commands
}

func document(v any) bson.Raw {
	raw, err := bson.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}
