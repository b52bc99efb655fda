// Asks for the picture at the size of the argument: "/a/1.webp" with size 64 becomes "/a/1.webp?size=64".
import { ascii, AVATAR, describe, encode, join, open, refuse, show, Text, value } from "./edgecache";
export { edgecache_alloc } from "./edgecache";

export function edgecache_describe(): u64 { return describe('{"abi":1,"args":["size"]}'); }

// pixels returns a number from 16 to 1024, 0 for everything else.
function pixels(t: Text): u32 {
  let n: u32 = 0;
  if (t.len > 4) return 0;
  for (let i: u32 = 0; i < t.len; i++) {
    const c = load<u8>(t.at + i);
    if (c < 48 || c > 57) return 0;
    n = n * 10 + (c - 48);
  }
  return n >= 16 && n <= 1024 ? n : 0;
}

export function edgecache_view(input: usize, len: u32): u64 {
  const c = open(input, len);
  const size = c.arg(0), avatar = value(c.field(AVATAR));
  if (size.at == 0 || avatar.len == 0) return 0;
  if (pixels(size) == 0) return refuse("size wants 16 to 1024");
  let more = "?size=";
  for (let i: u32 = 0; i < avatar.len; i++) if (load<u8>(avatar.at + i) == 63) more = "&size="; // "?"
  c.set(AVATAR, encode(join(join(avatar, ascii(more)), size)));
  return show(c);
}
