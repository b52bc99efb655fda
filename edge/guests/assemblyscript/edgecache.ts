// What an edge function in AssemblyScript needs: reading a call, changing fields, answering. The module exports
// edgecache_view and edgecache_describe; docs/edge-functions.md has the layouts.

// Fields of a profile, in the order of its layout.
export const ID = 1, NOM = 2, PRENOM = 3, FULL_NAME = 4, AVATAR = 5, MATRICULE = 6, MINISTERE = 7, SEXE = 8,
  UPDATED_AT = 9, ATTRS = 10;
const FIELDS = 11;

// Text is bytes of UTF-8 in memory; at is 0 when there is none.
@unmanaged export class Text { at: usize = 0; len: u32 = 0; }

// edgecache_alloc returns memory that is good until the call ends: everything is put back then.
export function edgecache_alloc(size: u32): usize { return heap.alloc(size); }

export function text(at: usize, len: u32): Text {
  const t = changetype<Text>(heap.alloc(offsetof<Text>()));
  t.at = at; t.len = len;
  return t;
}

// ascii returns the bytes of a string of ASCII.
export function ascii(s: string): Text {
  const t = text(heap.alloc(s.length + 1), s.length);
  for (let i = 0; i < s.length; i++) store<u8>(t.at + i, <u8>s.charCodeAt(i));
  return t;
}

export function span(t: Text): u64 { return <u64>t.at << 32 | <u64>t.len; }

// describe answers edgecache_describe.
export function describe(json: string): u64 { return span(ascii(json)); }

export function equal(t: Text, s: string): bool {
  if (t.at == 0 || t.len != <u32>s.length) return false;
  for (let i = 0; i < s.length; i++) if (load<u8>(t.at + i) != <u8>s.charCodeAt(i)) return false;
  return true;
}

function big(at: usize, n: i32): u32 {
  let v: u32 = 0;
  for (let i = 0; i < n; i++) v = v << 8 | load<u8>(at + i);
  return v;
}

let count: u32 = 0;      // of the head that was read last: bytes or elements that follow
let nested: bool = false; // they are elements

// head reads the head of a value and returns its length. It knows what a call has.
function head(at: usize): u32 {
  const c = load<u8>(at);
  count = 0; nested = false;
  if (c < 0x80 || c == 0xc0) return 1;
  if (c < 0x90) { count = <u32>(c & 15) * 2; nested = true; return 1; }
  if (c < 0xa0) { count = <u32>(c & 15); nested = true; return 1; }
  if (c < 0xc0) { count = <u32>(c & 31); return 1; }
  switch (c) {
    case 0xc4: case 0xd9: count = load<u8>(at + 1); return 2;
    case 0xc5: case 0xda: count = big(at + 1, 2); return 3;
    case 0xc6: case 0xdb: count = big(at + 1, 4); return 5;
    case 0xcc: return 2;
    case 0xcd: return 3;
    case 0xce: return 5;
    case 0xcf: return 9;
    case 0xdc: count = big(at + 1, 2); nested = true; return 3;
    case 0xde: count = big(at + 1, 2) * 2; nested = true; return 3;
  }
  return unreachable();
}

let rest: usize = 0; // what is still to be read
let end: usize = 0;

// next takes one encoded value.
export function next(): Text {
  const from = rest;
  let open: u32 = 1;
  while (open > 0) {
    open--;
    if (rest >= end) unreachable();
    rest += head(rest);
    if (nested) open += count; else rest += count;
  }
  return text(from, <u32>(rest - from));
}

// enter takes the head of an array or a map, and returns how many values follow.
export function enter(): u32 { rest += head(rest); return count; }

// value returns the text of an encoded value; its at is 0 for nil.
export function value(v: Text): Text {
  if (load<u8>(v.at) == 0xc0) return text(0, 0);
  const n = head(v.at);
  return text(v.at + n, count);
}

// read has next and enter read an encoded value.
export function read(v: Text): void { rest = v.at; end = v.at + v.len; }

// Call is a call: encoded values.
@unmanaged export class Call {
  fields: usize = 0; claims: usize = 0; args: usize = 0; locale: Text = text(0, 0);
  field(i: i32): Text { return load<Text>(this.fields + (<usize>i << 2)); }
  set(i: i32, v: Text): void { store<Text>(this.fields + (<usize>i << 2), v); }
  claim(i: i32): Text { return value(load<Text>(this.claims + (<usize>i << 2))); }
  arg(i: i32): Text { return value(load<Text>(this.args + (<usize>i << 2))); }
}

function list(n: u32): usize {
  const at = heap.alloc(n << 2 | 4);
  for (let i: u32 = 0; i < n; i++) store<Text>(at + (<usize>i << 2), next());
  return at;
}

export function open(input: usize, len: u32): Call {
  const c = changetype<Call>(heap.alloc(offsetof<Call>()));
  rest = input + 2; end = input + len; // [1, …
  c.fields = list(enter());
  c.claims = list(enter());
  c.args = list(enter());
  c.locale = value(next());
  return c;
}

// encode returns text as an encoded value.
export function encode(t: Text): Text {
  const out = heap.alloc(t.len + 3);
  if (t.len < 32) {
    store<u8>(out, 0xa0 | <u8>t.len);
    memory.copy(out + 1, t.at, t.len);
    return text(out, t.len + 1);
  }
  store<u8>(out, 0xda); store<u8>(out + 1, <u8>(t.len >> 8)); store<u8>(out + 2, <u8>t.len);
  memory.copy(out + 3, t.at, t.len);
  return text(out, t.len + 3);
}

// join returns two texts as one.
export function join(a: Text, b: Text): Text {
  const t = text(heap.alloc(a.len + b.len + 1), a.len + b.len);
  memory.copy(t.at, a.at, a.len);
  memory.copy(t.at + a.len, b.at, b.len);
  return t;
}

// show answers with the profile as the fields are now. A function that changes nothing returns 0.
export function show(c: Call): u64 {
  let size: u32 = 1;
  for (let i = 0; i < FIELDS; i++) size += c.field(i).len;
  const out = heap.alloc(size);
  let p = out;
  store<u8>(p++, 0x90 | FIELDS);
  for (let i = 0; i < FIELDS; i++) {
    const f = c.field(i);
    memory.copy(p, f.at, f.len);
    p += f.len;
  }
  return <u64>out << 32 | <u64>size;
}

// refuse answers that the profile is not to be shown.
export function refuse(reason: string): u64 {
  const t = encode(ascii(reason));
  const out = heap.alloc(t.len + 2);
  store<u8>(out, 0x92); store<u8>(out + 1, 0);
  memory.copy(out + 2, t.at, t.len);
  return <u64>out << 32 | <u64>(t.len + 2);
}
