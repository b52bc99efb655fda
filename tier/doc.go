// Package tier is the two-tier cache of user profiles: a node's own memory (L1) over Redis (L2)
// over a Loader, the source of truth.
//
// # To begin with
//
// l2.New makes the Redis tier of a client, New makes the Cache of that and a Loader, Start makes
// one round trip. A function is a Loader as a LoaderFunc. The example below is a whole program of
// that kind.
//
// Get answers for one user, BatchGet for up to 10,000; GetWith takes demands on the answer's
// version or age. Each Result says which tier answered and how old the answer is. Its Profile is
// shared: read it only. profile.ErrNotFound means that there is no such user,
// profile.ErrUnavailable that nobody could say.
//
// The truth is changed at the origin, not here. Put tells the cache what the truth already says,
// Invalidate that it says something else. Both change Redis and this node.
//
// # How a read goes
//
// The files are read in this order:
//
//  1. get.go: L1 (l1.go, entry.go) answers when it holds an entry that is fresh and valid.
//  2. flight.go: else one load of that user runs on this node; readers that come later join it.
//  3. load.go: L2 (package l2) answers when Redis has the record.
//  4. origin.go: else a lease in Redis lets one node of the cluster ask the origin. It fills Redis
//     with the answer; the others wait for that.
//  5. finish.go: the outcome is shown to all who wait, and ends the validity of whatever is
//     older. When nobody answers, the copy that L1 still holds does, marked stale, if nothing
//     invalidated it.
//  6. pending.go: it stays in the flight table until L1 shows it.
//
// batch.go is the same for many ids at once, warm.go for those that only Redis is asked for.
// change.go is what a node does when it is told of a change, watch.go what it does when Redis was
// written to beside the stream, fence.go how it knows that it would have been told.
//
// # What keeps it right
//
// Two rules. An entry of L1 is valid only while nothing has invalidated it since before its load
// began: each user has a stamp that an invalidation raises, and an entry remembers the stamp of
// before its load. What is written to Redis passes a script that knows the newest version and who
// may load: a load that was overtaken by a change is refused.
//
// # Other nodes
//
// A Cache alone does not hear of changes that another node makes. Package stream carries them: for
// each event call Refresh or Forget, after a gap Flush, and after every read of the stream Alive. A
// Cache that has not heard Alive for Config.FenceAfter stops answering from memory as if it were
// fresh, so a cache that no stream feeds sets FenceAfter below 0. Package node composes all of
// that; use it unless you need the parts.
package tier
