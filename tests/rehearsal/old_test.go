package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/chatapp-ngomna/edgecache/profile"
	"github.com/chatapp-ngomna/edgecache/stream"
)

// table is the users' table as the old service has it.
const table = `CREATE TABLE agents (
	id integer PRIMARY KEY, nom text NOT NULL, prenom text NOT NULL, avatar text, matricule text NOT NULL,
	ministere text NOT NULL, sexe char(1) NOT NULL, updated_at timestamptz(3) NOT NULL)`

// old stands in for the auth-user-service: it writes its table with the times of its own clock,
// which is off by skew, says so on the stream a moment later, and deletes the user in Redis or
// writes a part of it there. It answers in its own shapes, and has no /health.
type old struct {
	db    *pgxpool.Pool
	redis *redis.Client
	skew  time.Duration
	url   string
}

func newOld(t *testing.T, db *pgxpool.Pool, client *redis.Client, skew time.Duration) *old {
	t.Helper()
	o := &old{db: db, redis: client, skew: skew}
	_, err := db.Exec(t.Context(), table)
	check(t, err)
	for i := 1; i <= users; i++ {
		_, err := db.Exec(t.Context(), `INSERT INTO agents VALUES ($1, 'Ngo', $2, NULL, $3, $4, 'F', $5)`,
			i, fmt.Sprint("Awa ", i), fmt.Sprint("M-", i), ministry(0), o.now())
		check(t, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /batch", o.getBatch)
	mux.HandleFunc("GET /{id}", o.getOne)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	o.url = server.URL
	return o
}

// now is the time by its clock.
func (o *old) now() time.Time { return time.Now().Add(o.skew) }

// ministry is what the n-th change of a user writes: answers are told apart by it, whatever the
// clocks.
func ministry(n int64) string { return "M-" + strconv.FormatInt(n, 10) }

// row is a user as it answers.
type row struct {
	ID        int       `json:"id"`
	Nom       string    `json:"nom"`
	Prenom    string    `json:"prenom"`
	Avatar    *string   `json:"avatar"`
	Matricule string    `json:"matricule"`
	Ministere string    `json:"ministere"`
	Sexe      string    `json:"sexe"`
	UpdatedAt time.Time `json:"updatedAt"`
}

func (o *old) find(ctx context.Context, ids []string) (found []row, err error) {
	rows, err := o.db.Query(ctx, `SELECT id, nom, prenom, avatar, matricule, ministere, sexe, updated_at FROM agents WHERE id::text = ANY($1)`, ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.ID, &r.Nom, &r.Prenom, &r.Avatar, &r.Matricule, &r.Ministere, &r.Sexe, &r.UpdatedAt); err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

func (o *old) getOne(w http.ResponseWriter, r *http.Request) {
	found, err := o.find(r.Context(), []string{r.PathValue("id")})
	switch {
	case err != nil:
		http.Error(w, `{"success":false}`, http.StatusInternalServerError)
	case len(found) == 0:
		http.Error(w, `{"success":false,"message":"not found"}`, http.StatusNotFound)
	default:
		answer(w, map[string]any{"success": true, "data": found[0]})
	}
}

func (o *old) getBatch(w http.ResponseWriter, r *http.Request) {
	found, err := o.find(r.Context(), strings.Split(r.URL.Query().Get("ids"), ","))
	if err != nil {
		http.Error(w, `{"success":false}`, http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"users": found, "count": len(found)})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// write makes the n-th change of a user as the old flow does.
func (o *old) write(ctx context.Context, id string, n int64) error {
	_, err := o.db.Exec(ctx, `UPDATE agents SET ministere = $2, updated_at = $3 WHERE id::text = $1`, id, ministry(n), o.now())
	if err != nil {
		return err
	}
	select {
	case <-time.After(time.Duration(15+rand.IntN(35)) * time.Millisecond): // until its event
	case <-ctx.Done():
		return ctx.Err()
	}
	at := o.now().UnixMilli()
	event := fmt.Sprintf(`{"event":"user.profile.updated","userId":%s,"fullName":"Awa %s Ngo","ministere":%q,"timestamp":%d}`,
		id, id, ministry(n), at)
	if err := o.redis.XAdd(ctx, &redis.XAddArgs{Stream: stream.Name, Values: []any{"payload", event}}).Err(); err != nil {
		return err
	}
	switch key := profile.Key(id); n % 3 {
	case 0:
		return o.redis.Del(ctx, key).Err()
	case 1: // what the event has, and no more
		return o.redis.HSet(ctx, key, "fullName", fmt.Sprintf("Awa %s Ngo", id), "matricule", "M-"+id, "updatedAt", at).Err()
	default:
		return o.redis.HSet(ctx, key, "fullName", fmt.Sprintf("Awa %s Ngo", id), "avatar", "", "matricule", "M-"+id,
			"ministere", ministry(n), "sexe", "F", "updatedAt", at).Err()
	}
}
