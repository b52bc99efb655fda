// What an edge function in C needs: reading a call, changing fields, answering. Include it once, say what the function
// reads with EC_DESCRIBE, and write edgecache_view. docs/edge-functions.md has the layouts.
#ifndef EDGECACHE_H
#define EDGECACHE_H

#include <stdint.h>

#define EC_EXPORT(name) __attribute__((export_name(name), used))

// Fields of a profile, in the order of its layout.
enum { EC_ID = 1, EC_NOM, EC_PRENOM, EC_FULL_NAME, EC_AVATAR, EC_MATRICULE, EC_MINISTERE, EC_SEXE, EC_UPDATED_AT, EC_ATTRS, EC_FIELDS };

#define EC_NAMES 32

// ec_text is text that ends nowhere but at its length; at is 0 when there is none.
typedef struct { const uint8_t *at; uint32_t len; } ec_text;

// ec_call is a call: encoded values.
typedef struct {
	ec_text field[EC_FIELDS];
	ec_text claim[EC_NAMES], arg[EC_NAMES]; // in the order of the description
	ec_text locale;
	const uint8_t *rest, *end;
} ec_call;

extern uint8_t __heap_base;
static uint8_t *ec_free;

// ec_alloc returns memory that is good until the call ends: everything is put back then.
static uint8_t *ec_alloc(uint32_t size) {
	if (!ec_free) ec_free = &__heap_base;
	uint8_t *at = ec_free;
	ec_free += (size + 15) & ~15u;
	uint32_t pages = __builtin_wasm_memory_size(0), want = ((uint32_t)ec_free + 0xffff) >> 16;
	if (want > pages && __builtin_wasm_memory_grow(0, want - pages) == (unsigned long)-1) __builtin_trap();
	return at;
}

EC_EXPORT("edgecache_alloc") uint8_t *ec_export_alloc(uint32_t size) { return ec_alloc(size); }

static uint64_t ec_span(const void *at, uint32_t len) { return (uint64_t)(uint32_t)at << 32 | len; }

#define EC_DESCRIBE(text) \
	EC_EXPORT("edgecache_describe") uint64_t ec_export_describe(void) { return ec_span(text, sizeof(text) - 1); }

static uint32_t ec_big(const uint8_t *p, int n) {
	uint32_t v = 0;
	while (n--) v = v << 8 | *p++;
	return v;
}

// ec_head reads the head of a value at p: how long it is, and how many bytes or elements follow. It knows what a call has.
static uint32_t ec_head(const uint8_t *p, uint32_t *count, int *nested) {
	uint8_t c = *p;
	*count = 0, *nested = 0;
	if (c < 0x80 || c == 0xc0) return 1;
	if (c < 0x90) { *count = (c & 15) * 2, *nested = 1; return 1; }
	if (c < 0xa0) { *count = c & 15, *nested = 1; return 1; }
	if (c < 0xc0) { *count = c & 31; return 1; }
	switch (c) {
	case 0xc4: case 0xd9: *count = p[1]; return 2;
	case 0xc5: case 0xda: *count = ec_big(p + 1, 2); return 3;
	case 0xc6: case 0xdb: *count = ec_big(p + 1, 4); return 5;
	case 0xcc: return 2;
	case 0xcd: return 3;
	case 0xce: return 5;
	case 0xcf: return 9;
	case 0xdc: *count = ec_big(p + 1, 2), *nested = 1; return 3;
	case 0xde: *count = ec_big(p + 1, 2) * 2, *nested = 1; return 3;
	}
	__builtin_trap();
}

// ec_next takes one encoded value off a call.
static ec_text ec_next(ec_call *c) {
	const uint8_t *from = c->rest;
	uint32_t open = 1, count;
	int nested;
	while (open--) {
		if (c->rest >= c->end) __builtin_trap();
		c->rest += ec_head(c->rest, &count, &nested);
		if (nested) open += count; else c->rest += count;
	}
	return (ec_text){from, c->rest - from};
}

// ec_enter takes the head of an array off a call, and returns its length.
static uint32_t ec_enter(ec_call *c) {
	uint32_t count;
	int nested;
	c->rest += ec_head(c->rest, &count, &nested);
	return count;
}

static void ec_read(ec_call *c, const uint8_t *input, uint32_t len) {
	c->rest = input + 2, c->end = input + len; // [1, …
	ec_enter(c);
	for (int i = 0; i < EC_FIELDS; i++) c->field[i] = ec_next(c);
	for (uint32_t i = 0, n = ec_enter(c); i < n; i++) c->claim[i] = ec_next(c);
	for (uint32_t i = 0, n = ec_enter(c); i < n; i++) c->arg[i] = ec_next(c);
	c->locale = ec_next(c);
}

// ec_value returns the text of an encoded value; its at is 0 for nil.
static ec_text ec_value(ec_text v) {
	uint32_t count;
	int nested;
	uint32_t head = ec_head(v.at, &count, &nested);
	if (*v.at == 0xc0) return (ec_text){0, 0};
	return (ec_text){v.at + head, count};
}

static int ec_is(ec_text t, const char *s) {
	for (uint32_t i = 0; i < t.len; i++)
		if (!s[i] || t.at[i] != (uint8_t)s[i]) return 0;
	return t.at && !s[t.len];
}

static uint8_t *ec_copy(uint8_t *to, ec_text t) {
	__builtin_memcpy(to, t.at, t.len);
	return to + t.len;
}

// ec_encode returns text as an encoded value.
static ec_text ec_encode(ec_text t) {
	uint8_t *out = ec_alloc(t.len + 3), *p = out;
	if (t.len < 32) *p++ = 0xa0 | t.len;
	else *p++ = 0xda, *p++ = t.len >> 8, *p++ = t.len;
	return (ec_text){out, ec_copy(p, t) - out};
}

static void ec_set(ec_call *c, int field, ec_text t) { c->field[field] = ec_encode(t); }

// ec_show answers with the profile as the fields are now. A function that changes nothing returns 0.
static uint64_t ec_show(ec_call *c) {
	uint32_t size = 1;
	for (int i = 0; i < EC_FIELDS; i++) size += c->field[i].len;
	uint8_t *out = ec_alloc(size), *p = out;
	*p++ = 0x90 | EC_FIELDS;
	for (int i = 0; i < EC_FIELDS; i++) p = ec_copy(p, c->field[i]);
	return ec_span(out, size);
}

// ec_refuse answers that the profile is not to be shown. reason has at most 255 bytes.
static uint64_t ec_refuse(const char *reason) {
	uint32_t len = 0;
	while (reason[len]) len++;
	uint8_t *out = ec_alloc(len + 4);
	out[0] = 0x92, out[1] = 0, out[2] = 0xd9, out[3] = len;
	ec_copy(out + 4, (ec_text){(const uint8_t *)reason, len});
	return ec_span(out, len + 4);
}

#endif
