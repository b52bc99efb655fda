// Shows the name that a user has in the caller's language: the attribute "name.fr" for the locales "fr" and "fr-CM".
import { ATTRS, describe, enter, FULL_NAME, next, open, read, show, Text, text, value, equal } from "./edgecache";
export { edgecache_alloc } from "./edgecache";

export function edgecache_describe(): u64 { return describe('{"abi":1,"locale":true}'); }

function lower(c: u8): u8 { return c >= 65 && c <= 90 ? c | 0x20 : c; }

// matches reports whether key is "name." and the language.
function matches(key: Text, language: Text): bool {
  if (key.len != 5 + language.len || !equal(text(key.at, 5), "name.")) return false;
  for (let i: u32 = 0; i < language.len; i++)
    if (load<u8>(key.at + 5 + i) != lower(load<u8>(language.at + i))) return false;
  return true;
}

export function edgecache_view(input: usize, len: u32): u64 {
  const c = open(input, len);
  const language = c.locale;
  for (let i: u32 = 0; i < language.len; i++) if (load<u8>(language.at + i) == 45) language.len = i; // "-"
  if (language.len == 0) return 0;
  read(c.field(ATTRS));
  for (let n = enter(); n > 0; n -= 2) {
    const key = value(next());
    const name = next();
    if (!matches(key, language)) continue;
    c.set(FULL_NAME, name);
    return show(c);
  }
  return 0;
}
